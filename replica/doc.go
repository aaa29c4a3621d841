// Package replica keeps copies of a space on other machines, through NATS JetStream: one
// copy leads and is written to, the others follow and are read, and one of them takes over when
// the leader is gone.
//
// Terms: a copy is a space on one machine, with a name. The log is a JetStream stream with one
// subject; its messages hold frames (everheap.Frame), one after the other, or a part of a frame
// that is too large for a message, or a mark. A mark is a claim (a copy begins to lead), a
// snapshot (a backup in the object store, and where in the log to go on from it), or a base (a
// snapshot that the messages before it do not lead to). A term is what one claim begins: its
// leader has a number, one more than that before, and a random token. The note is the header
// of a message, which says what it holds and which term it is of.
//
// What JetStream guarantees, and all that is relied on: a message that is published with an
// expected last sequence is stored only directly behind the message of that number; and what
// it has acknowledged it keeps, unless a majority of its servers lose what they have not synced
// (they sync every two minutes, unless sync_interval is "always") or their disks.
//
// Invariants:
//
//	JS1  Every message expects the sequence of the one before it, which its publisher has read or
//	     published itself. So of two copies that believe to lead, at most one appends at any place;
//	     and when a claim is in the log, nothing of the term before ever comes behind it,
//	     whatever clocks, networks and stopped processes do. The other finds a message with
//	     another token where its own should be: it stands down.
//	JS2  A message with frames has the last version in it as its ID, but JS1 keeps duplicates out. For
//	     a server remembers the ID of a message for a while that it has lost, or that was
//	     deleted, and acknowledges it as stored when it comes again. So it is to remember IDs for
//	     as short a time as it can, and a leader to which it says "duplicate" looks into the log (JS3).
//	JS3  A leader that does not know whether a message was stored (the acknowledgement was lost, the
//	     server was away) reads the last message of the log, and goes on from there: from the frame
//	     after it, if it has its token, and if the frame there follows it by the chain of hashes.
//	     What JetStream has lost is so sent again, from the journal on the leader's disk, which
//	     keeps it (a subscription) for a good while after it was acknowledged. If it is not kept
//	     any more, a base follows. A read that is out of date harms nobody: JS1.
//	JS4  A snapshot is marked in the log only when the log holds the frame of its version, or it is
//	     a base; and it is made durable at the leader before. So no copy ever begins with a state
//	     that is not part of the log's history.
//	JS5  The log is purged only below what the oldest kept snapshot needs.
//	JS6  A follower trusts no message: it applies a frame only if the checksum is right and the
//	     frame follows its version by number and chain (RP1). Whatever is missing, cut or altered
//	     it asks for again; what cannot be had it replaces by a snapshot. The space it had is
//	     kept beside, and named. A snapshot that is damaged it says to be, and begins with the one
//	     before; if that does not help either it waits for a new one, and asks the leader for it.
//	JS7  A follower says that it has a version when it is on its disk, and says the chain with it.
//	     The leader counts it only if it has published that very version of that chain. So an
//	     Update WithReplicas(n) returns when n copies have what it has written, and the log
//	     holds it as well.
//	JS8  A copy claims the log only when it has applied everything in it, and has nothing that is not
//	     in its own history; and, unless it is forced, when no other copy has said that it has
//	     more (JetStream has lost that then). The claim comes first, the space becomes writable
//	     after: a copy whose claim fails is a follower as before, with nothing to undo. What it has
//	     beyond the log's end it sends again (JS3).
//	JS9  So nothing is lost that was acknowledged WithReplicas(1) or more: it is in the log (JS7), and
//	     whoever claims has applied it (JS8). If JetStream loses it after that, then the leader
//	     sends it again (JS3); if the leader is gone as well, the follower that has said that it has
//	     it claims, and sends it again, and no other claims while that one can be reached, or its
//	     word is there (JS8). It takes the loss of all three, or force, to lose it.
//	JS10 A copy that has led, and finds the log claimed by another, makes its space a replica first, so
//	     that nobody writes any more; then it writes what the log has not, its tail, to a file; and
//	     only then it forgets that it has led. Killed in between it does it again.
//	JS11 Nobody who leads or follows waits for an answer without end: it is lost with the connection
//	     on which it was to come, and servers that are there again know nothing of the question.
//	     Whatever deadline the program's context has, each call has a few seconds of its own, and
//	     is made again.
//
// Leases decide only when to claim, never who leads: that is JS1.
//
// Start reading at Lead and Leader.run, then Follow and Follower.run, then Follower.Promote.
package replica
