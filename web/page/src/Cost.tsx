import type { Session } from "asyouwere";
import { usageOf } from "asyouwere/helpers";
import { useEffect, useMemo, useState } from "react";
import { FUNCTIONS_URL } from "./api";
import { token } from "./people";
import { recordedFetch } from "./traffic";
import { Dialog, useToast } from "./ui";

type Told = Awaited<ReturnType<ReturnType<typeof usageOf>["read"]>>;

/** Money as this page counts it: in the currency of its prices. */
const money = (cost: number): string => new Intl.NumberFormat("en", { style: "currency", currency: "USD", maximumFractionDigits: cost < 0.01 ? 5 : 2 }).format(cost);
const percent = (used: number): string => `${Math.round(used * 100)} %`;

/** What this session has cost, and how far that is from its budget. */
export function Cost({ session, number, isOwner }: { session: Session; number: number; isOwner: boolean }) {
  const { id } = session;
  const toast = useToast();
  const [told, setTold] = useState<Told | null>(null);
  const [open, setOpen] = useState(false);
  const [typed, setTyped] = useState("");
  const usage = useMemo(() => usageOf({ url: FUNCTIONS_URL, token, environment: { fetch: recordedFetch } }, id), [id]);

  useEffect(
    () =>
      usage.on("budget", ({ of, used, isOver, budget }) =>
        toast(`${isOver ? "All" : percent(used)} of ${of === "session" ? "this session's" : "your"} budget of ${money(budget)} is used.`),
      ),
    [usage, toast],
  );
  // the agent says what an answer cost before it saves it, so each new version is worth a look
  useEffect(() => {
    if (!number) return; // not on the server yet
    let isGone = false;
    usage.read().then(
      (now) => isGone || setTold(now),
      () => isGone || setTold(null), // who merely reads a public session is not told
    );
    return () => void (isGone = true);
  }, [usage, number]);

  if (!told) return null;
  const { cost, budget, used } = told;
  const level = used === null || used < 0.8 ? "fine" : used < 1 ? "warning" : "over";
  const setBudget = (amount: number | null): void => {
    usage.setBudget(amount).then(
      (now) => {
        setTold(now);
        setOpen(false);
      },
      (error: Error) => toast(error.message),
    );
  };
  return (
    <>
      <button className="button plain cost" data-level={level} onClick={() => setOpen(true)}>
        <span className="hidden-label">Cost: </span>
        {money(cost)}
        {budget !== null && used !== null && (
          <meter className="budget" min={0} max={1} high={0.8} value={Math.min(used, 1)} aria-label={`${percent(used)} of the budget of ${money(budget)}`} />
        )}
        {level !== "fine" && <strong>{level === "over" ? "Over budget" : percent(used!)}</strong>}
      </button>
      <Dialog title="What this session cost" about="As its agent recorded it. The agent that is built in costs nothing: its price is made up, so that there is something to see." open={open} onClose={() => setOpen(false)}>
        <dl className="facts">
          <dt>Answers</dt>
          <dd>{told.calls}</dd>
          <dt>Tokens read, written</dt>
          <dd>
            {told.input_tokens}, {told.output_tokens}
          </dd>
          <dt>Cost</dt>
          <dd>{money(cost)}</dd>
          {budget !== null && used !== null && (
            <>
              <dt>Budget</dt>
              <dd>
                {money(budget)}, {percent(used)} used
              </dd>
            </>
          )}
        </dl>
        {isOwner && (
          <form
            className="row"
            onSubmit={(event) => {
              event.preventDefault();
              const amount = Number(typed);
              if (amount > 0) setBudget(amount);
            }}
          >
            <label className="hidden-label" htmlFor="budget">
              Budget in dollars
            </label>
            <input id="budget" className="field" type="number" min="0.01" step="0.01" placeholder="Budget in $" value={typed} onChange={(event) => setTyped(event.target.value)} />
            <button className="button accent">Set budget</button>
            {budget !== null && (
              <button type="button" className="button" onClick={() => setBudget(null)}>
                None
              </button>
            )}
          </form>
        )}
      </Dialog>
    </>
  );
}
