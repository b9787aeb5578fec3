import { open } from "asyouwere";
import { turnsOf } from "asyouwere/turns";

import type { ChatProps, State } from "../Chat";

/** An agent in a route: opens the session on the server, and answers through a turn. */
export async function POST(request: Request): Promise<Response> {
  const { url, token, session: id } = (await request.json()) as ChatProps;
  const session = open<State>({ url, token, session: id });
  await session.ready;
  const turn = await turnsOf(session).start();
  for (const word of ["Green", " or", " black?"]) turn.write(word);
  await turn.finish();
  await session.close();
  return Response.json({ turn: turn.id });
}
