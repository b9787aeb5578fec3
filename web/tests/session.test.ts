import { describe, expect, test } from "vitest";
import { opened, person, stateOf, ways } from "./server.js";

type Chat = { messages: { role: string; content: string }[]; step?: number };
const says = (content: string, role = "user"): Chat["messages"][0] => ({ role, content });

describe.each(ways)("a session over %s", (way) => {
  test("is made, saved and restored", async () => {
    const token = person();
    const session = opened<Chat>(way, { token, initial: { messages: [] }, fields: { name: "Trip" } });
    await session.ready;
    session.append("/messages", [says("hi")]);
    session.update((state) => ({ ...state, step: 1 }));
    expect(session.status.waiting.changes).toBe(2);
    await session.saveNow();
    expect(session.status).toMatchObject({ isSaving: false, saveCount: 1, error: null, offline: false });
    expect(session.status.waiting).toMatchObject({ changes: 0, bytes: 0 });
    expect(await stateOf(token, session.id)).toEqual({ messages: [says("hi")], step: 1 });
    await session.close();

    const again = opened<Chat>(way, { token, session: session.id });
    await again.ready;
    await again.saveNow();
    expect(again.state).toEqual({ messages: [says("hi")], step: 1 });
    await again.close();
  });
});
