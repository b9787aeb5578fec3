import { useCallback, useEffect, useState } from "react";
import { api, type Member } from "./api";
import { usePeople } from "./people";
import { Dialog, useToast } from "./ui";

/** Who else may see a session, or write in it. Who is invited sees it after accepting. */
export function Share(props: { session: string; open: boolean; onClose(): void }) {
  const { session, open } = props;
  const toast = useToast();
  const { me, others } = usePeople();
  const [members, setMembers] = useState<Member[]>([]);
  const [role, setRole] = useState<"viewer" | "editor">("editor");

  const load = useCallback(() => {
    api.members(session).then(setMembers, (error: Error) => toast(error.message));
  }, [session, toast]);
  useEffect(() => {
    if (open) load();
  }, [open, load]);

  const attempt = (what: Promise<unknown>, done: string): void => {
    what.then(
      () => {
        toast(done);
        load();
      },
      (error: Error) => toast(error.message),
    );
  };
  const invitable = others.filter((one) => one.id !== me?.id && !members.some((member) => member.user_id === one.id));
  const nameOf = (id: string): string => others.find((one) => one.id === id)?.name ?? "Somebody";

  return (
    <Dialog title="Share this session" about="Whoever you invite finds it in their list once they have accepted." open={open} onClose={props.onClose}>
      <ul className="people">
        {members.length === 0 && <li className="quiet">Nobody else yet.</li>}
        {members.map((member) => (
          <li key={member.user_id}>
            <b>{nameOf(member.user_id)}</b>
            <span className="quiet">
              {member.role}
              {member.accepted_at ? "" : ", invited"}
            </span>
            <button className="button" onClick={() => attempt(api.putOut(session, member.user_id), `${nameOf(member.user_id)} is out.`)}>
              Remove
            </button>
          </li>
        ))}
      </ul>
      {me?.guest && <p className="quiet small">You are a guest. Sign in, and you can invite others, who then know by whom; your sessions come along.</p>}
      <div className="row" hidden={invitable.length === 0 || me?.guest}>
        <label htmlFor="role">as</label>
        <select id="role" className="field" style={{ width: "auto" }} value={role} onChange={(event) => setRole(event.target.value as typeof role)}>
          <option value="editor">editor</option>
          <option value="viewer">viewer</option>
        </select>
        {invitable.map((one) => (
          <button key={one.id} className="button accent" onClick={() => attempt(api.invite(session, one.id, role), `${one.name} is invited.`)}>
            Invite {one.name}
          </button>
        ))}
      </div>
    </Dialog>
  );
}
