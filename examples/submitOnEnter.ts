import type { KeyboardEvent } from "react";

/** For a `textarea`: Enter sends, Shift+Enter is a new line; not while a word is composed, as in Japanese. */
export function submitOnEnter(event: KeyboardEvent<HTMLTextAreaElement>): void {
  if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
  event.preventDefault();
  event.currentTarget.form!.querySelector("button")!.click(); // which does nothing while it is disabled
}
