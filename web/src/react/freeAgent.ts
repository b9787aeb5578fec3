import { useEffect, useMemo, useRef, useState } from "./hooks.js";
import type { OpenOptions } from "../core/open.js";
import type { Session } from "../core/surface.js";
import type { Json, State } from "../core/types.js";
import { needed, useOpener, useSessionRestore, useSnapshot } from "./opening.js";

/** A message as the session keeps it; whatever else an app puts into it stays. */
export type AgentMessage = { role: string; content: Json; id?: string; [more: string]: Json | undefined };

/** What an agent keeps in mind. */
export interface AgentMemory {
  blackboard: State;
  scratchpad: State;
  attributes: State;
}

export type AgentStatus = "idle" | "running" | "paused" | "completed" | "error";

export interface AgentState {
  messages: AgentMessage[];
  memory: AgentMemory;
  currentStep: number;
  status: AgentStatus;
  /** Whether an agent is at work in this page. */
  isRunning: boolean;
  lastError: string | null;
}

/** What `executeAgent` hands to the app's function: what it may read, and how it says what it does. */
export interface AgentRun {
  session: Session;
  /** As it is now, also while the agent runs. */
  readonly state: AgentState;
  /** Aborted when the component goes, or another session is loaded. */
  signal: AbortSignal;
  addMessage(message: string | AgentMessage): AgentMessage;
}

export interface FreeAgentSession {
  session: Session | null;
  sessionId: string | null;
  sessionState: AgentState;
  isLoading: boolean;
  isRestored: boolean;
  error: unknown;
  /** Makes a new session and shows it. Resolves with its id when the server has it. */
  createSession(fields?: OpenOptions["fields"]): Promise<string>;
  /** Shows a session that there is. Resolves when it is there. */
  loadSession(id: string): Promise<void>;
  /** Puts a message at the end; a text is the person's. Needs a session. */
  addMessage(message: string | AgentMessage): AgentMessage;
  updateStatus(status: AgentStatus, lastError?: string | null): void;
  /** Runs an agent: the status says so, what it returns is the result, what it throws is `lastError` and thrown on. */
  executeAgent<T>(agent: (run: AgentRun) => Promise<T>): Promise<T>;
}

/** A session's state, whatever of it is there, in the shape of an agent's. */
function agentState(state: State = {}, isRunning: boolean): AgentState {
  const { messages, memory, currentStep = 0, status = "idle", lastError = null } = state;
  return {
    messages: Array.isArray(messages) ? messages : [],
    memory: { blackboard: {}, scratchpad: {}, attributes: {}, ...(memory as State) },
    currentStep,
    status,
    isRunning,
    lastError,
  } as AgentState;
}

const { messages, memory, currentStep } = agentState({}, false);
const EMPTY = { messages, memory, currentStep } as unknown as State;

/** Puts a message at the end of a session's; a text is the person's. */
function say(session: Session, message: string | AgentMessage): AgentMessage {
  const whole: AgentMessage = typeof message === "string" ? { role: "user", content: message } : message;
  session.append("/messages", [whole as Json]);
  return whole;
}

const setStatus = (session: Session, status: AgentStatus, lastError: string | null): void =>
  session.update((state) => ({ ...state, status, lastError }));

/** One agent's session: opened by its id, its key or its tab when the component is shown, or made by `createSession`. */
export function useFreeAgentSession(options: OpenOptions): FreeAgentSession {
  const { session, current, show } = useOpener<State>({ initial: EMPTY, ...options }, !!(options.session ?? options.key ?? options.tab));
  const snapshot = useSnapshot(session);
  const [running, setRunning] = useState<Session | null>(null);
  const { isRestoring, isRestored, error } = useSessionRestore(session);
  const gone = useRef<AbortController>(null);
  useEffect(() => {
    const leaving = (gone.current = new AbortController());
    return () => leaving.abort();
  }, [session]);

  const actions = useMemo(
    () => ({
      async createSession(fields?: OpenOptions["fields"]) {
        const opened = show(fields ? { fields } : {});
        await opened.saveNow();
        return opened.id;
      },
      loadSession: (session: string) => show({ session }).ready,
      addMessage: (message: string | AgentMessage) => say(needed(current.current), message),
      updateStatus: (status: AgentStatus, lastError: string | null = null) => setStatus(needed(current.current), status, lastError),
      async executeAgent<T>(agent: (run: AgentRun) => Promise<T>): Promise<T> {
        const session = needed(current.current);
        setRunning(session);
        setStatus(session, "running", null);
        try {
          const result = await agent({
            session,
            get state() {
              return agentState(session.state, true);
            },
            signal: gone.current!.signal,
            addMessage: (message) => say(session, message),
          });
          setStatus(session, "idle", null);
          return result;
        } catch (error) {
          setStatus(session, "error", error instanceof Error ? error.message : String(error));
          throw error;
        } finally {
          setRunning(null);
        }
      },
    }),
    [current, show],
  );

  const { state, id } = snapshot ?? {};
  const isRunning = running !== null && running === session;
  return {
    session,
    sessionId: id || null,
    sessionState: useMemo(() => agentState(state, isRunning), [state, isRunning]),
    isLoading: isRestoring,
    isRestored,
    error,
    ...actions,
  };
}
