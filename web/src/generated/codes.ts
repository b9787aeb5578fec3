// Made from spec/errors.json by `make generate`: change that file, never this one.

/** A stable code of an error. */
export type Code =
  /** 401: Send a valid access token as 'Authorization: Bearer <token>'. */
  | "invalid_token"
  /** 401: This needs a signed-in user. */
  | "not_signed_in"
  /** 403: You may read this session, but not do that with it. */
  | "forbidden"
  /** 403: The owner has as many sessions or stored bytes as allowed. Nothing was saved. */
  | "quota_exceeded"
  /** 404: This function has nothing at that address. */
  | "not_found"
  /** 404: No such session, or it is not shared with you. Check the id and the signed-in user. */
  | "session_not_found"
  /** 404: The session has no snapshot of that number, label or external id. */
  | "snapshot_not_found"
  /** 404: No open invitation to this session for you. It may have been taken back, or the session made private. */
  | "invitation_not_found"
  /** 404: The session has no turn of that id. */
  | "turn_not_found"
  /** 404: No user has this id. Ask the person for theirs: sub in their token, once signed up. */
  | "user_not_found"
  /** 404: No such code, or it was used, or its ten minutes are over. Ask for a new one. */
  | "offer_not_found"
  /** 405: That address exists, but not for this method. */
  | "method_not_allowed"
  /** 408: The request body did not arrive in time. Nothing was saved. */
  | "request_timeout"
  /** 409: Somebody else changed the same part since your base. Nothing was written: catch up, then save again. */
  | "conflict"
  /** 409: This idempotency key came with another save before. Make a new key for every save; keep it for retries. */
  | "idempotency_key_reused"
  /** 409: Another snapshot of this session has this label. Remove it there first. */
  | "label_taken"
  /** 409: The session has a snapshot with this external id. Nothing was saved: read that one, or use another id. */
  | "snapshot_exists"
  /** 409: This id can't be used. Leave it out, or make a new random one. */
  | "key_taken"
  /** 409: Another answer is being made in this session. Follow it, or begin when it has ended. */
  | "turn_running"
  /** 409: This turn has ended, or its lease ran out. Nothing was written, and nothing more will be. */
  | "turn_over"
  /** 409: Chunks have no gaps. Send those from next_seq on. */
  | "turn_gap"
  /** 410: Clean-up has removed this snapshot. Restore the latest first. */
  | "snapshot_gone"
  /** 413: The session would grow over its limit. Nothing was saved. */
  | "too_large"
  /** 413: The request body is over the limit. Nothing was saved. */
  | "body_too_large"
  /** 415: Send the body as 'Content-Type: application/json', UTF-8, not compressed. */
  | "unsupported_media_type"
  /** 422: The request does not have the expected form. */
  | "invalid_request"
  /** 422: The body is not valid JSON. */
  | "invalid_json"
  /** 422: A state is a JSON object, in which no key stands twice where it is opened. */
  | "invalid_state"
  /** 422: Changes must be an object of 'set', 'append' and 'remove'. */
  | "invalid_changes"
  /** 422: An argument is outside what is allowed. */
  | "invalid_argument"
  /** 422: An address must be a JSON Pointer such as /memory/topic. */
  | "invalid_address"
  /** 422: The base is no snapshot of this session. Restore first. */
  | "unknown_base"
  /** 422: This address lies inside a part, and parts are saved whole. Send the part that is named. */
  | "address_below_part"
  /** 422: No container for this address, and its number may name an item or a member. Set the container first. */
  | "missing_parent"
  /** 422: A list has no gaps: put an item at its end, or change one that is there. */
  | "list_gap"
  /** 422: Only lists can be appended to. */
  | "not_a_list"
  /** 422: One save changes an address twice, or an address and something inside it. Send the outer one whole. */
  | "overlapping_addresses"
  /** 422: JSON may be nested 64 levels deep. */
  | "nesting_too_deep"
  /** 422: A number is outside the range of a double (about 1.8e308), or written absurdly long. */
  | "number_out_of_range"
  /** 422: An address may have 2,000 bytes. Use shorter keys. */
  | "address_too_long"
  /** 422: Text in this place may hold neither NUL nor a lone surrogate. */
  | "not_representable"
  /** 429: Too many writes in a short time. Wait, then send the same again. */
  | "rate_limited"
  /** 500: Something went wrong on our side. The request id finds it in the log. */
  | "internal"
  /** 503: The database cannot be reached. Try again shortly. */
  | "database_unavailable"
  /** 503: The sign-in keys cannot be fetched. Try again shortly. */
  | "keys_unavailable"
  /** 504: The database took too long. Repeat it with the same idempotency key. */
  | "timeout";
