// Chats of the AI SDK over supabase-js: a chat is a session, its UI messages the state's `messages`.
//
//   const store = new ChatStore(supabase)              // signed in as the user
//   const messages = await store.loadChat(chatId)
//   return result.toUIMessageStreamResponse({
//     originalMessages: messages, onFinish: ({ messages }) => store.saveChat({ chatId, messages }),
//   })
//
// Two tabs may save one chat at once: a message is added once by its id, and what the other added stays.

export class ChatStore {
  #supabase
  #sessions = new Map()

  constructor(supabase) {
    this.#supabase = supabase
  }

  /** The id of a new chat. */
  async createChat() {
    const chatId = crypto.randomUUID()
    await this.#session(chatId)
    return chatId
  }

  /** All messages of a chat, or the last so many; none of a chat that is new. */
  async loadChat(chatId, last = null) {
    const address = last === null ? '/messages' : { address: '/messages', last }
    const part = await this.#call('get_session_parts', {
      p_session_id: await this.#session(chatId),
      p_addresses: [address],
    })
    return part.value ?? []
  }

  /** Adds the messages whose ids are new, and brings the others up to what they are here. */
  async saveChat({ chatId, messages }) {
    const p_session_id = await this.#session(chatId)
    const saved = await this.#call('create_session_snapshot', {
      p_session_id,
      p_changes: { append_once: { '/messages': { by: 'id', items: messages } } },
    })
    const mine = new Map(messages.map((message) => [message.id, message]))
    const set = {}
    for (const [address, stood] of Object.entries(saved.existing ?? {})) {
      if (JSON.stringify(stood) !== JSON.stringify(mine.get(stood.id))) set[address] = mine.get(stood.id)
    }
    if (Object.keys(set).length > 0) {
      await this.#call('create_session_snapshot', { p_session_id, p_changes: { set }, p_base: saved.number })
    }
  }

  async deleteChat(chatId) {
    await this.#call('delete_session', { p_session_id: await this.#session(chatId) })
    this.#sessions.delete(chatId)
  }

  /** The session of a chat: made once, however many ask at once. */
  async #session(chatId) {
    if (!this.#sessions.has(chatId)) {
      const row = await this.#call('get_or_create_session', { p_key: `chat/${chatId}` })
      this.#sessions.set(chatId, row.id)
    }
    return this.#sessions.get(chatId)
  }

  /** The only row of a call. Errors are PostgREST's; `hint` is asyouwere's code. */
  async #call(name, parameters) {
    const { data, error } = await this.#supabase.rpc(name, parameters)
    if (error) throw Object.assign(new Error(`${name}: ${error.message}`), { code: error.hint })
    return data[0]
  }
}
