/** The session id in a URL, by default of this page: `?session=…`. Undefined: none, or there is no page. */
export function sessionFromUrl(name = "session", href = globalThis.location?.href): string | undefined {
  return (href && new URL(href).searchParams.get(name)) || undefined;
}

/** Which session a page is in, by its key or its id: found again after a reload, on the app's other pages, later. */
export interface Remembered {
  /** The page's address says it, or this tab remembers it, or this device does; undefined: nobody. */
  readonly value: string | undefined;
  /**
   * Remembers this from now on: for this tab; or for longer, and for other tabs of this device that are in none. False:
   * the browser keeps nothing for this page (refused, or full); `value` and `link` have it all the same.
   */
  keep(value: string, place?: "tab" | "device"): boolean;
  /** Forgets it, in this tab and on this device. */
  forget(): void;
  /** The whole address of a page of the app, with what is remembered in it: found where the browser keeps nothing, too. */
  link(href: string): string;
}

type Kept = Pick<Storage, "getItem" | "setItem" | "removeItem">;

export interface RememberedOptions {
  /** Of the address. By default `session`. */
  param?: string;
  /** The page's address. */
  href?: string | undefined;
  /** By default `sessionStorage`; a page may be refused the very name. */
  tab?: () => Kept;
  /** By default `localStorage`. */
  device?: () => Kept;
}

/** What is remembered by a name, one for each person who uses the app on this device: `remembered("studio of " + user)`. */
export function remembered(
  name: string,
  { param = "session", href = globalThis.location?.href, tab = () => sessionStorage, device = () => localStorage }: RememberedOptions = {},
): Remembered {
  const places = { tab, device };
  const key = "asyouwere remembers " + name;
  const kept = <T>(place: "tab" | "device", use: (storage: Kept) => T): T | undefined => {
    try {
      return use(places[place]());
    } catch {
      return undefined;
    }
  };
  const read = (place: "tab" | "device"): string | undefined => kept(place, (storage) => storage.getItem(key)) || undefined;

  let value = sessionFromUrl(param, href) ?? read("tab") ?? read("device");
  const keep = (next: string, place: "tab" | "device" = "tab"): boolean => {
    value = next;
    const write = (storage: Kept): boolean => (storage.setItem(key, next), true);
    const isInTab = kept("tab", write);
    return (place === "tab" ? isInTab : kept("device", write)) ?? false;
  };
  // the tab stays in it, on pages whose address does not say it, and when the device remembers another one
  if (value) keep(value);
  return {
    get value() {
      return value;
    },
    keep,
    forget() {
      value = undefined;
      for (const place of ["tab", "device"] as const) kept(place, (storage) => storage.removeItem(key));
    },
    link(to) {
      const url = new URL(to, href);
      url.searchParams.delete(param);
      if (value) url.searchParams.set(param, value);
      return url.href;
    },
  };
}
