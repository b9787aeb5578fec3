import { ArchiveIcon, DotsHorizontalIcon, EnterIcon, Pencil1Icon, TrashIcon } from "@radix-ui/react-icons";
import { formatTimeAgo, type Sessions } from "asyouwere/react";
import { DropdownMenu } from "radix-ui";
import { useState } from "react";
import { api, type Invitation } from "./api";
import { addressOf, go } from "./router";
import { Ask, Confirm, useNow, useToast } from "./ui";

type Listed = Sessions["sessions"][number];

/** A line of Markdown as plain words, for where there is room for one line. */
const plain = (text: string): string => text.replace(/[`*_#>|]+/g, "").replace(/\s+/g, " ").trim();

/** The person's sessions: found, opened, renamed, archived, deleted; and what others offer to share. */
export function SessionList(props: { list: Sessions; current: string | null; invitations: Invitation[]; isSearching: boolean; isArchive: boolean; onOpen(): void; onAccepted(session: string): void }) {
  const { list, current, invitations } = props;
  const toast = useToast();
  const now = useNow(30);
  const [renaming, setRenaming] = useState<Listed | null>(null);
  const [deleting, setDeleting] = useState<Listed | null>(null);

  const attempt = (what: Promise<unknown>, done?: string): void => {
    void what.then(
      () => done && toast(done),
      (error: Error) => toast(error.message),
    );
  };
  const leave = (id: string): void => {
    if (id === current) go(null);
  };

  return (
    <>
      {invitations.map((invitation) => (
        <div className="invitation" key={invitation.session_id}>
          <span>
            You are invited to <b>{invitation.name ?? "a session"}</b> as {invitation.role}.
          </span>
          <button
            className="button accent"
            onClick={() =>
              attempt(
                api.accept(invitation.session_id).then(() => {
                  props.onAccepted(invitation.session_id);
                  go(invitation.session_id);
                }),
              )
            }
          >
            <EnterIcon /> Accept
          </button>
        </div>
      ))}
      <ul className="sessions" aria-label="Sessions">
        {list.sessions.map((one) => (
          <li className="session" key={one.id}>
            <a
              href={addressOf(one.id)}
              aria-current={one.id === current ? "page" : undefined}
              onClick={(event) => {
                if (event.metaKey || event.ctrlKey || event.shiftKey) return;
                event.preventDefault();
                go(one.id);
                props.onOpen();
              }}
            >
              <span className="title">{one.name ?? "Untitled"}</span>
              <span className="line quiet small">
                {one.my_role === "owner" ? "" : "shared · "}
                {formatTimeAgo(one.last_activity_at, now)}
                {one.last_message ? ` · ${plain(one.last_message)}` : ""}
              </span>
            </a>
            <DropdownMenu.Root modal={false}>
              <DropdownMenu.Trigger className="button plain icon" aria-label={`More for ${one.name ?? "Untitled"}`}>
                <DotsHorizontalIcon />
              </DropdownMenu.Trigger>
              <DropdownMenu.Portal>
                <DropdownMenu.Content className="menu" align="end" sideOffset={4}>
                  <DropdownMenu.Item className="menu-item" onSelect={() => setRenaming(one)} disabled={one.my_role === "viewer"}>
                    <Pencil1Icon /> Rename
                  </DropdownMenu.Item>
                  {one.my_role === "owner" ? (
                    <>
                      <DropdownMenu.Item
                        className="menu-item"
                        onSelect={() => {
                          if (props.isArchive) return attempt(list.change(one.id, { archived: false }), "It is among the others again.");
                          leave(one.id);
                          attempt(
                            list.change(one.id, { archived: true }).then(() =>
                              toast("Archived.", { label: "Undo", run: () => attempt(list.change(one.id, { archived: false })) }),
                            ),
                          );
                        }}
                      >
                        <ArchiveIcon /> {props.isArchive ? "Take out of the archive" : "Archive"}
                      </DropdownMenu.Item>
                      <DropdownMenu.Item
                        className="menu-item danger"
                        onSelect={() => setDeleting(one)}
                      >
                        <TrashIcon /> Delete
                      </DropdownMenu.Item>
                    </>
                  ) : (
                    <DropdownMenu.Item
                      className="menu-item danger"
                      onSelect={() => {
                        leave(one.id);
                        attempt(api.leave(one.id).then(() => list.refresh()), "You have left.");
                      }}
                    >
                      <TrashIcon /> Leave
                    </DropdownMenu.Item>
                  )}
                </DropdownMenu.Content>
              </DropdownMenu.Portal>
            </DropdownMenu.Root>
          </li>
        ))}
        {list.hasMore && (
          <li>
            <button className="button plain" onClick={list.loadMore}>
              Show more
            </button>
          </li>
        )}
        {!list.isLoading && list.sessions.length === 0 && (
          <li className="quiet small empty">
            {props.isSearching ? "No session is called that." : list.error ? "The server can't be reached." : "Nothing here yet."}
          </li>
        )}
      </ul>
      <Confirm
        title="Delete this session?"
        action="Delete"
        open={deleting !== null}
        onClose={() => setDeleting(null)}
        onConfirm={() => {
          if (!deleting) return;
          leave(deleting.id);
          attempt(list.remove(deleting.id), "Deleted.");
        }}
      >
        “{deleting?.name ?? "Untitled"}” goes with its whole history. That can't be undone.
      </Confirm>
      <Ask
        title="Rename"
        label="Name"
        action="Rename"
        initial={renaming?.name ?? ""}
        open={renaming !== null}
        onClose={() => setRenaming(null)}
        onAnswer={(name) => renaming && attempt(list.rename(renaming.id, name))}
      />
    </>
  );
}
