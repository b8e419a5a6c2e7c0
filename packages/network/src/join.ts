/** Two links as one cable: what comes out of one goes into the other. */
import type { Link } from '@paravane/link-api';

/** The result closes both. */
export function joinLinks(a: Link, b: Link): () => void {
  const attach = (link: Link, far: Link): void =>
    link.attach({
      offloads: far.offloads,
      send: (frames) => far.send(frames),
      resume: () => far.resume(),
    });
  attach(a, b);
  attach(b, a);
  return () => {
    a.close();
    b.close();
  };
}
