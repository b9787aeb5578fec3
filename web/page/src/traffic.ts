/** What goes over the line, for the drawer that shows it. */

import { useSyncExternalStore } from "react";

export interface Exchange {
  id: number;
  method: string;
  path: string;
  /** HTTP status; 0: no answer; null: none yet. */
  status: number | null;
  sent: number;
  received: number;
  milliseconds: number | null;
}

const MOST = 60;
let exchanges: readonly Exchange[] = [];
let totals = { requests: 0, sent: 0, received: 0 };
let view = { exchanges, totals };
let count = 0;
const listeners = new Set<() => void>();

function put(exchange: Exchange, more: { sent?: number; received?: number } = {}): void {
  const others = exchanges.filter((one) => one.id !== exchange.id);
  exchanges = [exchange, ...others].sort((a, b) => b.id - a.id).slice(0, MOST);
  totals = {
    requests: count,
    sent: totals.sent + (more.sent ?? 0),
    received: totals.received + (more.received ?? 0),
  };
  view = { exchanges, totals };
  for (const listener of listeners) listener();
}

/** `fetch`, written down: method, path, bytes both ways, time. */
export async function recordedFetch(url: string, init: RequestInit = {}): Promise<Response> {
  const started = performance.now();
  const body = typeof init.body === "string" ? new TextEncoder().encode(init.body).length : 0;
  const { pathname, search } = new URL(url, location.href);
  let exchange: Exchange = {
    id: ++count,
    method: init.method ?? "GET",
    path: (pathname + search).replace("/functions/v1/", "").replace(/([0-9a-f]{2})[0-9a-f]{6}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, "$1…").replace(/^sessions\/(..…)\//, "$1/"),
    status: null,
    sent: body,
    received: 0,
    milliseconds: null,
  };
  put(exchange, { sent: body });
  try {
    const response = await fetch(url, init);
    exchange = { ...exchange, status: response.status, milliseconds: performance.now() - started };
    put(exchange);
    if (!response.body) return response;
    const counted = response.body.pipeThrough(
      new TransformStream<Uint8Array, Uint8Array>({
        transform(piece, controller) {
          exchange = { ...exchange, received: exchange.received + piece.length };
          put(exchange, { received: piece.length });
          controller.enqueue(piece);
        },
      }),
    );
    return new Response(counted, { status: response.status, statusText: response.statusText, headers: response.headers });
  } catch (error) {
    put({ ...exchange, status: 0, milliseconds: performance.now() - started });
    throw error;
  }
}

export function useTraffic(): typeof view {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    () => view,
  );
}

/** Bytes in human units: 812 B, 4.2 kB, 1.1 MB. */
export function bytes(count: number): string {
  if (count < 1000) return `${count} B`;
  const [value, unit] = count < 1_000_000 ? [count / 1000, "kB"] : [count / 1_000_000, "MB"];
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${unit}`;
}
