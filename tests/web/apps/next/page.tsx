import { sessionFromUrl } from "asyouwere/helpers";
import { Suspense } from "react";

import { Chat } from "./Chat";

/** A server component: it imports the package, and hands what it was given to the client's component. */
async function Given({ searchParams }: Pick<PageProps<"/">, "searchParams">) {
  const { url, token, session } = await searchParams;
  if (sessionFromUrl() || typeof url !== "string" || typeof token !== "string" || typeof session !== "string")
    return <p>Say where: ?url=…&amp;token=…&amp;session=…</p>;
  return <Chat url={url} token={token} session={session} ask="/answer" />;
}

export default function Page({ searchParams }: PageProps<"/">) {
  return (
    <Suspense>
      <Given searchParams={searchParams} />
    </Suspense>
  );
}
