import { CaretUpIcon, PersonIcon } from "@radix-ui/react-icons";
import { DropdownMenu } from "radix-ui";
import { useState } from "react";
import { api } from "./api";
import { allSaved, signIn, usePeople } from "./people";
import { go } from "./router";
import { Confirm, useToast } from "./ui";

/** Who one is here. A guest who signs in takes the sessions along. */
export function PersonMenu({ hasSessions }: { hasSessions: boolean }) {
  const { me, others } = usePeople();
  const toast = useToast();
  const [isLeaving, setLeaving] = useState(false);

  const become = async (name: string | null): Promise<void> => {
    try {
      await allSaved();
      const guest = name && me?.guest ? me.id : undefined;
      const code = guest && (await api.offer());
      let taken = 0;
      await signIn(name, guest, async (bearer) => {
        if (!code) return;
        taken = (await api.claim(code, bearer)).sessions;
        if (taken) await api.carryOn(bearer).catch(() => {}); // at worst an answer is cut short
      });
      if (!taken) go(null); // what came along stays where it is
      if (taken) toast(`${taken} ${taken === 1 ? "session came" : "sessions came"} along.`);
    } catch (error) {
      toast((error as Error).message);
    }
  };

  return (
    <div className="person">
      <span>
        <PersonIcon /> {me?.name ?? "…"}
      </span>
      <DropdownMenu.Root modal={false}>
        <DropdownMenu.Trigger className="button plain" aria-label="Sign in as somebody else">
          {me?.guest ? "Sign in" : "Change"} <CaretUpIcon />
        </DropdownMenu.Trigger>
        <DropdownMenu.Portal>
          <DropdownMenu.Content className="menu" side="top" align="end" sideOffset={6}>
            {others
              .filter((one) => one.id !== me?.id)
              .map((one) => (
                <DropdownMenu.Item key={one.id} className="menu-item" onSelect={() => void become(one.name.toLowerCase())}>
                  Sign in as {one.name}
                </DropdownMenu.Item>
              ))}
            <DropdownMenu.Item className="menu-item" onSelect={() => (me?.guest && hasSessions ? setLeaving(true) : void become(null))}>
              Be a new guest
            </DropdownMenu.Item>
          </DropdownMenu.Content>
        </DropdownMenu.Portal>
      </DropdownMenu.Root>
      <Confirm title="Leave this guest's sessions?" action="Be a new guest" open={isLeaving} onClose={() => setLeaving(false)} onConfirm={() => void become(null)}>
        Nobody can reach them afterwards, neither can you. Sign in instead, and they come along.
      </Confirm>
    </div>
  );
}
