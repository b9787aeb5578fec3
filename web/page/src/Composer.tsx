import { PaperPlaneIcon, StopIcon } from "@radix-ui/react-icons";
import { useEffect, useRef } from "react";
import { useUnsent } from "./unsent";

/** Where one writes. What is not sent yet is kept, for this tab and session: it is there after a reload. */
export function Composer(props: {
  person: string;
  name: string;
  placeholder: string;
  isRunning: boolean;
  disabled?: boolean;
  onSend(text: string): void;
  onStop?(): void;
}) {
  const [text, write] = useUnsent(props.person, props.name);
  const field = useRef<HTMLTextAreaElement>(null);
  useEffect(() => {
    if (!props.disabled) field.current?.focus();
  }, [props.name, props.disabled]);

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
