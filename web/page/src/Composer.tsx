import { PaperPlaneIcon, StopIcon } from "@radix-ui/react-icons";
import { del, get, set } from "idb-keyval";
import { useEffect, useRef, useState } from "react";

/** Where one writes. What is not sent yet is kept for this session: it is there after a reload. */
export function Composer(props: {
  name: string;
  placeholder: string;
  isRunning: boolean;
  disabled?: boolean;
  onSend(text: string): void;
  onStop?(): void;
}) {
  const [text, setText] = useState("");
  const field = useRef<HTMLTextAreaElement>(null);
  const draft = `draft ${props.name}`;
  useEffect(() => {
    let isGone = false;
    setText("");
    // what was typed before it was read is newer
    get<string>(draft).then(
      (kept) => isGone || setText((typed) => typed || kept || ""),
      () => {}, // a browser that keeps nothing
    );
    return () => void (isGone = true);
  }, [draft]);
  useEffect(() => {
    if (!props.disabled) field.current?.focus();
  }, [props.name, props.disabled]);

  const write = (next: string): void => {
    setText(next);
    void (next ? set(draft, next) : del(draft)).catch(() => {});
  };
  const send = (): void => {
    if (!text.trim() || props.isRunning || props.disabled) return;
    props.onSend(text.trim());
    write("");
  };

  return (
    <div className="composer">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          send();
        }}
      >
        <label className="hidden-label" htmlFor="composer">
          Message
        </label>
        <textarea
          id="composer"
          ref={field}
          rows={1}
          value={text}
          placeholder={props.placeholder}
          disabled={props.disabled}
          onChange={(event) => write(event.target.value)}
          onKeyDown={(event) => {
            if (event.key === "Enter" && !event.shiftKey && !event.nativeEvent.isComposing) {
              event.preventDefault();
              send();
            }
          }}
        />
        {props.isRunning ? (
          <button type="button" className="button" onClick={props.onStop}>
            <StopIcon /> Stop
          </button>
        ) : (
          <button className="button accent icon" aria-label="Send" disabled={!text.trim() || props.disabled}>
            <PaperPlaneIcon />
          </button>
        )}
      </form>
    </div>
  );
}
