import { HamburgerMenuIcon, PlusIcon } from "@radix-ui/react-icons";
import { useFreeAgentSession, useSessions, useSnapshot } from "asyouwere/react";
import { useCallback, useDeferredValue, useEffect, useMemo, useState } from "react";
import { api, FUNCTIONS_URL, type Invitation } from "./api";
import { Chat, said } from "./Chat";
import { Composer } from "./Composer";
import { Drawer } from "./Drawer";
import { useFacts } from "./facts";
import { token, useUnsaved, type Person } from "./people";
import { PersonMenu } from "./PersonMenu";
import { go, usePlace } from "./router";
import { SessionList } from "./SessionList";
import { recordedFetch } from "./traffic";

const IDEAS = ["What can you do?", "Tell me a long story", "Remember that the train is at 9:40", "Primes in Python"];
const environment = { fetch: recordedFetch };

/** The whole page for one person. */
export function App({ person }: { person: Person }) {
  const { session: wanted } = usePlace();
  const [menu, setMenu] = useState(false);
  const [drawer, setDrawer] = useState(false);
  const [typed, setTyped] = useState("");
  const search = useDeferredValue(typed.trim());
  const [invitations, setInvitations] = useState<Invitation[]>([]);

  const connection = useMemo(() => ({ url: FUNCTIONS_URL, token, person: person.id, environment }), [person.id]);
  const [archive, setArchive] = useState(false);
  const list = useSessions({ ...connection, poll: 5_000, archived: archive ? "true" : "false", ...(search && { search }) });
  const agent = useFreeAgentSession({ ...connection, debounce: 1_500, ...(wanted && { session: wanted }) });
  const { session } = agent;
  const [begun, setBegun] = useState(false);
  const [unasked, setUnasked] = useState<string | null>(null);
  useUnsaved((useSnapshot(session)?.status.waiting.changes ?? 0) > 0);

  const loadInvitations = useCallback(() => {
    api.invitations().then(setInvitations, () => {}); // looked for again soon
  }, []);
  useEffect(() => {
    loadInvitations();
    const timer = setInterval(() => document.hidden || loadInvitations(), 10_000);
    return () => clearInterval(timer);
  }, [loadInvitations]);

  /** The first message makes the session; then it goes on in it. */
  const begin = (text: string): void => {
    void agent.createSession({ name: text.slice(0, 60) }).then(list.refresh, () => {}); // whoever asks for the answer is told
    agent.addMessage(said(text, person));
    setBegun(true);
  };
  const made = agent.sessionId;
  useEffect(() => {
    if (!begun || !made) return;
    setBegun(false);
    setUnasked(made);
    go(made);
  }, [begun, made]);

  const facts = useFacts(wanted, list.sessions, agent.isRestored);
  const title = wanted && facts?.name;
  useEffect(() => void (document.title = title ? `${title} · asyouwere` : "asyouwere"), [title]);
  const isGone = wanted !== null && agent.error !== null && (agent.error as { status?: number }).status === 404;

  return (
    <div className="frame">
      <a className="skip" href="#main">
        To the conversation
      </a>
      <nav className="side" data-open={menu} aria-label="Sessions">
        <div className="brand">
          <img src="/assets/mark.svg" alt="" /> asyouwere
        </div>
        <div className="side-tools">
          <button
            className="button accent"
            onClick={() => {
              go(null);
              setMenu(false);
            }}
          >
            <PlusIcon /> New session
          </button>
          <label className="hidden-label" htmlFor="search">
            Search sessions by name
          </label>
          <input id="search" className="field" type="search" placeholder="Search by name" value={typed} onChange={(event) => setTyped(event.target.value)} />
          <label className="row small quiet">
            <input type="checkbox" checked={archive} onChange={(event) => setArchive(event.target.checked)} /> Archived
          </label>
        </div>
        <SessionList
          list={list}
          current={wanted}
          invitations={invitations}
          isSearching={search !== ""}
          isArchive={archive}
          onOpen={() => setMenu(false)}
          onAccepted={(id) => {
            setMenu(false);
            loadInvitations();
            void list.refresh();
            if (id === wanted) void agent.loadSession(id); // whoever had the address was told that there is none
          }}
        />
        <PersonMenu hasSessions={list.sessions.length > 0} />
      </nav>
      <main className="main" id="main" onClick={() => menu && setMenu(false)}>
        {wanted === null ? (
          <>
            <header className="bar only-narrow">
              <button className="button plain icon" aria-label="Sessions" onClick={() => setMenu(true)}>
                <HamburgerMenuIcon />
              </button>
            </header>
            <div className="home">
              <h1>Where were we?</h1>
              <p className="quiet">Whatever you write here keeps itself: reload, close it, come back on another device.</p>
              <Composer person={person.id} name="home" placeholder="Write a message" isRunning={false} onSend={begin} />
              <div className="ideas">
                {IDEAS.map((idea) => (
                  <button key={idea} className="button" onClick={() => begin(idea)}>
                    {idea}
                  </button>
                ))}
              </div>
            </div>
          </>
        ) : isGone ? (
          <div className="home">
            <h1>No such session</h1>
            <p className="quiet">It was deleted, or is not shared with you. Signed in as {person.name}.</p>
            <button className="button accent" onClick={() => go(null)}>
              Begin a new one
            </button>
          </div>
        ) : session && session.id === wanted ? (
          <Chat
            key={session.id}
            session={session}
            name={facts && (facts.name ?? "Untitled")}
            person={person}
            mayWrite={facts?.my_role !== "viewer"}
            isOwner={facts?.my_role === "owner"}
            isUnasked={unasked === wanted}
            onAsked={() => setUnasked(null)}
            drawer={drawer}
            onDrawer={() => setDrawer(!drawer)}
            onMenu={() => setMenu(true)}
          />
        ) : null}
      </main>
      {drawer && <Drawer session={wanted === null ? null : session} onClose={() => setDrawer(false)} />}
    </div>
  );
}
