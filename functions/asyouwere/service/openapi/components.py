"""Schemas of the OpenAPI document that no model has."""

from __future__ import annotations

from typing import Any, Final

from asyouwere.errors import CODES
from asyouwere.service.http.responses import PROBLEM_TYPE

__all__ = ["COMPONENTS", "PROBLEM_MEMBERS"]

_ADDRESS: Final = {"type": "string"}
_NUMBER: Final = {"type": "integer"}

#: Members of a problem that come with some codes only: what they say and of what type they are. The codes of each
#: are in spec/errors.json.
PROBLEM_MEMBERS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "address": ("The address that is refused, a JSON Pointer.", _ADDRESS),
    "addresses": (
        "Addresses that somebody else changed, too; at most 100.",
        {"type": "array", "items": _ADDRESS},
    ),
    "base": ("The base that was sent.", _NUMBER),
    "count": ("How many addresses there are in all, counted up to 1,000.", _NUMBER),
    "errors": (
        "What is wrong with which fields, at most 20.",
        {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "problem"],
                "properties": {"field": {"type": "string"}, "problem": {"type": "string"}},
            },
        },
    ),
    "lease_until": (
        "When another turn may begin, unless the running one goes on.",
        {"type": "string", "format": "date-time"},
    ),
    "latest": ("Number of the latest snapshot.", _NUMBER),
    "limit": ("How much the quota allows.", _NUMBER),
    "limit_bytes": ("Bytes that a body may have.", _NUMBER),
    "max_bytes": ("Bytes that the state may have.", _NUMBER),
    "max_parts": ("Parts that one request may write.", _NUMBER),
    "next_seq": ("Number of the turn's next chunk.", _NUMBER),
    "number": ("Number of the snapshot that was asked for.", _NUMBER),
    "parent": ("Address of the container that is missing.", _ADDRESS),
    "part": ("Address of the part to be sent whole instead.", _ADDRESS),
    "quota": (
        "Which quota is used up.",
        {"type": "string", "enum": ["sessions", "stored_bytes", "running_turns", "recent_turns"]},
    ),
    "retry_after": ("Seconds after which to try again; also in the header Retry-After.", _NUMBER),
    "size_bytes": ("Bytes that the state would have.", _NUMBER),
    "turn": ("Id of the turn that runs.", {"type": "string", "format": "uuid"}),
    "turn_status": ("How the turn is.", {"type": "string"}),
    "used": ("How much of the quota is used.", _NUMBER),
}


def _member(name: str) -> dict[str, Any]:
    meaning, schema = PROBLEM_MEMBERS[name]
    codes = [code for code, entry in CODES.items() if name in entry.detail]
    return {"description": f"{meaning} With {', '.join(codes)}.", **schema}


#: By name.
COMPONENTS: Final[dict[str, dict[str, Any]]] = {
    "Problem": {
        "type": "object",
        "description": "An error, as problem details (RFC 9457). Match on 'code', never on a sentence; what else is "
        "there depends on it.",
        "required": ["type", "title", "status", "detail", "code"],
        "properties": {
            "type": {"type": "string", "description": f"{PROBLEM_TYPE} and the code."},
            "title": {"type": "string", "description": "The same for every error of this code."},
            "status": {"type": "integer", "description": "The HTTP status."},
            "detail": {"type": "string", "description": "What happened and what to do, in a sentence."},
            "code": {"$ref": "#/components/schemas/ErrorCode"},
            **{name: _member(name) for name in PROBLEM_MEMBERS},
        },
    },
    "ErrorCode": {
        "type": "string",
        "description": "\n".join(f"- {code}: {entry.sentence}" for code, entry in sorted(CODES.items())),
        "enum": sorted(CODES),
    },
    "State": {
        "type": "object",
        "description": "The whole state of a session, for example its messages, memory and step.",
        "additionalProperties": True,
    },
    "Changes": {
        "type": "object",
        "description": "Changes to a state. Addresses are JSON Pointers (RFC 6901) such as /memory/topic. 'add', "
        "'append_once', 'expect' and 'expect_absent' look at what is stored when the save is done, whatever its "
        "base.",
        "properties": {
            "set": {
                "type": "object",
                "description": "New values by address.",
                "additionalProperties": True,
            },
            "append": {
                "type": "object",
                "description": "Items to be put at the end of a list, by the list's address.",
                "additionalProperties": {"type": "array", "items": {}},
            },
            "remove": {
                "type": "array",
                "description": "Addresses of what goes.",
                "items": {"type": "string"},
            },
            "add": {
                "type": "object",
                "description": "Values by address, written where nothing is. What is there already stays, and is "
                "told as 'existing'.",
                "additionalProperties": True,
            },
            "append_once": {
                "type": "object",
                "description": "Items to be put at the end of a list unless an item there has the same member 'by', "
                "a string or a number, by the list's address. What is there already is told as 'existing'.",
                "additionalProperties": {
                    "type": "object",
                    "required": ["by", "items"],
                    "properties": {
                        "by": {"type": "string"},
                        "items": {"type": "array", "items": {"type": "object"}},
                    },
                    "additionalProperties": False,
                },
            },
            "expect": {
                "type": "object",
                "description": "What has to be at an address, or nothing is written (conflict). Inside of a part, "
                "such as a message, it is compared by its text.",
                "additionalProperties": True,
            },
            "expect_absent": {
                "type": "array",
                "description": "Addresses where nothing may be, or nothing is written (conflict).",
                "items": {"type": "string"},
            },
        },
        "additionalProperties": False,
    },
    "Delta": {
        "type": "object",
        "description": "What leads from one state to a later one: take away what 'remove' names, then put what is "
        "in 'set', in its order. Addresses are JSON Pointers (RFC 6901).",
        "required": ["set", "remove"],
        "properties": {
            "set": {
                "type": "object",
                "description": "New values by address, containers before what they hold.",
                "additionalProperties": True,
            },
            "remove": {
                "type": "array",
                "description": "Addresses of what goes.",
                "items": {"type": "string"},
            },
        },
        "additionalProperties": False,
    },
    "JsonObject": {
        "type": "object",
        "description": "Any JSON object.",
        "additionalProperties": True,
    },
    "Kind": {"type": "string", "enum": ["chat", "agent", "workflow"]},
    "Status": {"type": "string", "enum": ["idle", "running", "paused", "completed", "error", "expired"]},
    "Visibility": {
        "type": "string",
        "description": "Who reads it: private: the owner; shared: its members too; public: everybody.",
        "enum": ["private", "shared", "public"],
    },
}
