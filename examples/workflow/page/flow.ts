/** A workflow: a document of nodes and edges. What is at /nodes/ID/x is a part of its own, so two people may change one node. */

export interface Node {
  label: string;
  x: number;
  y: number;
}

export interface Flow {
  nodes?: Record<string, Node>;
  edges?: Record<string, { from: string; to: string }>;
}

/** What a new workflow begins with. */
export const FIRST: Flow = {
  nodes: {
    start: { label: "Question", x: 60, y: 130 },
    search: { label: "Search", x: 300, y: 60 },
    answer: { label: "Answer", x: 540, y: 130 },
  },
  edges: { "start-search": { from: "start", to: "search" }, "search-answer": { from: "search", to: "answer" } },
};

export type Change = "added" | "changed" | "gone" | "same";

/** Each node and edge of two versions, and what became of it. */
export function compare(before: Flow, after: Flow): { flow: Required<Flow>; changes: Record<string, Change> } {
  const changes: Record<string, Change> = {};
  const both = <T>(old: Record<string, T> = {}, now: Record<string, T> = {}): Record<string, T> => {
    for (const id of new Set([...Object.keys(old), ...Object.keys(now)])) {
      // a member's order says nothing: the database keeps members sorted by address
      const same = JSON.stringify(Object.entries(old[id] ?? {}).sort()) === JSON.stringify(Object.entries(now[id] ?? {}).sort());
      changes[id] = !(id in old) ? "added" : !(id in now) ? "gone" : same ? "same" : "changed";
    }
    return { ...old, ...now };
  };
  return { flow: { nodes: both(before.nodes, after.nodes), edges: both(before.edges, after.edges) }, changes };
}

/** The nodes and edges that addresses lie in, such as /nodes/search of /nodes/search/x: each is decided as a whole. */
export const thingsOf = (addresses: string[]): string[] => [...new Set(addresses.map((address) => address.split("/").slice(0, 3).join("/")))];
