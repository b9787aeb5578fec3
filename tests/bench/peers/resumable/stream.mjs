// The AI SDK's way: an answer through resumable-stream and Redis. What to do comes as JSON by standard input.
//   make {id, chunks, pause_ms, hold}  make an answer; a line for each chunk: {"seq", "ms": how long it held the runner
//                                up}; hold: after so many it waits to be killed
//   read {id, wait_ms}           resume it as a second device does; one line: {"text", "why": what went wrong}
// REDIS_URL says where.
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { createClient } from 'redis'
import { createResumableStreamContext } from 'resumable-stream/redis'

const say = (line) => process.stdout.write(JSON.stringify(line) + '\n')
const client = () => createClient({ url: process.env.REDIS_URL }).on('error', () => {}) // it connects again by itself

async function make(context, { id, chunks, pause_ms: pause, hold }) {
  let sent = 0
  let since
  const source = new ReadableStream({
    async pull(controller) {
      if (sent > 0) say({ seq: sent, ms: performance.now() - since })
      if (sent === chunks.length) return controller.close()
      await sleep(sent === hold ? 60_000 : pause)
      since = performance.now()
      controller.enqueue(chunks[sent++])
    },
  }, { highWaterMark: 0 })
  const response = await context.createNewResumableStream(id, () => source)
  for await (const _ of response) { /* the first device reads along */ }
}

async function read(context, { id, wait_ms: wait }) {
  let seen = ''
  let why = ''
  const reading = async () => {
    const stream = await context.resumeExistingStream(id)
    if (!stream) why = stream === null ? 'it is done: nothing to resume' : 'no such stream'
    else for await (const piece of stream) seen += piece
  }
  await Promise.race([reading().catch((error) => { why = String(error.message) }), sleep(wait)])
  say({ text: seen, why })
}

const [subscriber, publisher] = [client(), client()]
await Promise.all([subscriber.connect(), publisher.connect()])
const context = createResumableStreamContext({ subscriber, publisher, waitUntil: null })
await { make, read }[process.argv[2]](context, JSON.parse(await text(process.stdin)))
await sleep(20)
process.exit(0)
