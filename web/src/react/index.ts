/** asyouwere for React 18 and 19: hooks over the core, which knows nothing of React. */

export { useFreeAgentSession } from "./freeAgent.js";
export type { AgentMemory, AgentMessage, AgentRun, AgentState, AgentStatus, FreeAgentSession } from "./freeAgent.js";
export { useAutoRestore, useSessionRestore, useSnapshot, type Restoring } from "./opening.js";
export { useSessionPersistence, type Persistence, type PersistenceOptions } from "./persistence.js";
export { useSessions, type Sessions, type SessionsOptions } from "./sessions.js";
export { formatTimeAgo } from "./timeAgo.js";
