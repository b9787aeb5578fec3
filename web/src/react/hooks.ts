/** React's own hooks, imported in one place: a bundler repeats the import of each file. */

export { useCallback, useEffect, useMemo, useRef, useState, useSyncExternalStore } from "react";
