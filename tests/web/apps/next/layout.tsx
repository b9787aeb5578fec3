import type { ReactNode } from "react";

// The one that create-next-app writes, without its fonts, which are fetched while it is built.
export default function RootLayout({ children }: { children: ReactNode }) {
  return (
    <html lang="en">
      <body>{children}</body>
    </html>
  );
}
