// A check is a name and what must hold; each prints one line of JSON, and one that fails does not stop the others.

export const checks = [];

/** name: a sentence; body: throws if it does not hold. */
export function check(name, body) {
  checks.push({ name, body });
}

export async function run() {
  for (const { name, body } of checks) {
    let failure = null;
    try {
      await body();
    } catch (error) {
      failure = error.stack ?? String(error);
    }
    console.log(JSON.stringify({ name, failure }));
  }
}

/** What a call gave; throws what it refused. */
export async function ok(call) {
  const answer = await call;
  if (answer.error) throw new Error(`refused: ${JSON.stringify({ ...answer.error, message: answer.error.message })}`);
  return answer.data;
}

/** What a call was refused with; throws if it was not. */
export async function refused(call) {
  const answer = await call;
  if (!answer.error) throw new Error(`not refused: ${JSON.stringify(answer.data)}`);
  return { ...answer.error, message: answer.error.message, status: answer.error.status ?? answer.status };
}
