import { Chat } from "../Chat";

/** Rendered while the app is built. */
export default function Page() {
  return <Chat url="https://functions.example/v1" token="" session="00000000-0000-4000-8000-000000000000" />;
}
