/** Small parts that several places use. */

import { Cross1Icon } from "@radix-ui/react-icons";
import { Dialog as RadixDialog } from "radix-ui";
import { createContext, useCallback, useContext, useEffect, useMemo, useRef, useState, type ReactNode } from "react";

/** A dialog; Escape and a click beside it close it. Not modal in Radix' sense, whose scroll lock would need inline styles. */
export function Dialog(props: { title: string; about?: string; open: boolean; onClose(): void; children: ReactNode }) {
  return (
    <RadixDialog.Root open={props.open} onOpenChange={(open) => !open && props.onClose()} modal={false}>
      <RadixDialog.Portal>
        {props.open && <div className="shade" aria-hidden="true" />}
        <RadixDialog.Content className="dialog" aria-describedby={props.about ? undefined : ""}>
          <div className="row" style={{ justifyContent: "space-between" }}>
            <RadixDialog.Title asChild>
              <h2>{props.title}</h2>
            </RadixDialog.Title>
            <RadixDialog.Close className="button plain icon" aria-label="Close">
              <Cross1Icon />
            </RadixDialog.Close>
          </div>
          {props.about && <RadixDialog.Description className="quiet">{props.about}</RadixDialog.Description>}
          {props.children}
        </RadixDialog.Content>
      </RadixDialog.Portal>
    </RadixDialog.Root>
  );
}

/** A text to ask for, in a dialog of its own. */
export function Ask(props: {
  title: string;
  label: string;
  initial: string;
  action: string;
  open: boolean;
  onClose(): void;
  onAnswer(text: string): void;
}) {
  const [text, setText] = useState(props.initial);
  useEffect(() => {
    if (props.open) setText(props.initial);
  }, [props.open, props.initial]);
  return (
    <Dialog title={props.title} open={props.open} onClose={props.onClose}>
      <form
        className="row"
        onSubmit={(event) => {
          event.preventDefault();
          if (text.trim()) props.onAnswer(text.trim());
          props.onClose();
        }}
      >
        <label className="hidden-label" htmlFor="asked">
          {props.label}
        </label>
        <input id="asked" className="field" value={text} maxLength={200} onChange={(event) => setText(event.target.value)} autoFocus />
        <button type="button" className="button" onClick={props.onClose}>
          Cancel
        </button>
        <button className="button accent">{props.action}</button>
      </form>
    </Dialog>
  );
}

/** Something that can't be undone, asked before it is done. */
export function Confirm(props: { title: string; action: string; open: boolean; onClose(): void; onConfirm(): void; children: ReactNode }) {
  return (
    <Dialog title={props.title} open={props.open} onClose={props.onClose}>
      <p className="quiet">{props.children}</p>
      <div className="row end">
        <button className="button" onClick={props.onClose} autoFocus>
          Cancel
        </button>
        <button
          className="button danger"
          onClick={() => {
            props.onClose();
            props.onConfirm();
          }}
        >
          {props.action}
        </button>
      </div>
    </Dialog>
  );
}

interface Toast {
  text: string;
  action?: { label: string; run(): void } | undefined;
}

const Toasts = createContext<(text: string, action?: Toast["action"]) => void>(() => {});

/** Says something in passing, with at most one thing to do about it. */
export const useToast = () => useContext(Toasts);

export function ToastArea({ children }: { children: ReactNode }) {
  const [toast, setToast] = useState<Toast | null>(null);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const show = useCallback((text: string, action?: Toast["action"]) => {
    setToast({ text, action });
    clearTimeout(timer.current);
    timer.current = setTimeout(() => setToast(null), 7000);
  }, []);
  return (
    <Toasts.Provider value={useMemo(() => show, [show])}>
      {children}
      <div role="status" aria-live="polite">
        {toast && (
          <div className="toast">
            {toast.text}
            {toast.action && (
              <button
                className="button"
                onClick={() => {
                  toast.action?.run();
                  setToast(null);
                }}
              >
                {toast.action.label}
              </button>
            )}
          </div>
        )}
      </div>
    </Toasts.Provider>
  );
}

/** The time, new every so many seconds, so that "12 seconds ago" stays true. */
export function useNow(seconds: number): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), seconds * 1000);
    return () => clearInterval(timer);
  }, [seconds]);
  return now;
}
