import { CaretUpIcon, PersonIcon } from "@radix-ui/react-icons";
import { DropdownMenu } from "radix-ui";
import { api } from "./api";
import { signIn, usePeople } from "./people";
import { go } from "./router";
import { useToast } from "./ui";

/** Who one is here. A guest who signs in takes the sessions along. */
export function PersonMenu() {
  const { me, others } = usePeople();
  const toast = useToast();

  const become = async (name: string | null): Promise<void> => {
    try {
      const code = me?.guest && name ? await api.offer().catch(() => null) : null;
      let taken = 0;
      await signIn(name, async (bearer) => {
        if (code) taken = (await api.claim(code, bearer)).sessions;
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
            <DropdownMenu.Item className="menu-item" onSelect={() => void become(null)}>
              Be a new guest
            </DropdownMenu.Item>
          </DropdownMenu.Content>
        </DropdownMenu.Portal>
      </DropdownMenu.Root>
    </div>
  );
}
