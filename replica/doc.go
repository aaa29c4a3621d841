// Package replica keeps copies of a space on other machines, through NATS JetStream. One copy leads:
// programs write to it. The others follow: programs read them. When the leader is gone, a follower
// takes over.
//
// Terms: a copy is a space on one machine, with a name. The log is a JetStream stream with one
// subject. A message of the log holds frames (everheap.Frame), one after the other, or a part of a
// frame that is too large for a message, or a mark. A mark is a claim (a copy begins to lead), a
// snapshot (a backup in the object store, with the place in the log from which a copy continues), or
// a base (a snapshot that cannot be reached by the messages before it). A claim begins a term, which
// has a number, one more than the term before, and a random token. The note is the header of a
// message; it has the kind of the message and its term.
//
// The package relies on two guarantees of JetStream. It stores a message that is published with an
// expected last sequence only directly after the message of that number. And it keeps the messages
// that it has acknowledged, unless a majority of its servers lose their disks, or lose what they have
// not synced (they sync every two minutes, unless sync_interval is "always").
//
// Invariants:
//
//	JS1  Every message expects the sequence of the message before it, which its publisher has read or
//	     published itself. So if two copies believe that they lead, at most one of them appends at any
//	     place. And once a claim is in the log, no message of an earlier term can follow it, whatever
//	     clocks, networks and stopped processes do. The earlier leader finds a message with another
//	     token where its own should be, and stands down.
//	JS2  A message with frames has the last version in it as its ID, but it is JS1 that keeps
//	     duplicates out. A server may remember the ID of a message that it has lost, or that was
//	     deleted; if the message comes again, it acknowledges the message as stored. So the stream
//	     remembers IDs for the shortest time that servers allow, and a leader that gets the answer
//	     "duplicate" reads the log (JS3).
//	JS3  A leader may not know whether a message was stored: the acknowledgement was lost, or the
//	     server was away. Then it reads the last message of the log. If that has the leader's token,
//	     and the leader's next frame follows it by the chain of hashes, the leader continues with this
//	     frame. So it sends again what JetStream has lost, from the journal on its disk; a
//	     subscription keeps frames there for a good while after the acknowledgement. If the journal no
//	     longer has them, the leader publishes a base. A stale read does no harm, by JS1.
//	JS4  The leader marks a snapshot in the log only when the log has the frame of its version, or as
//	     a base; and before that it makes the version durable. So no copy begins with a state outside
//	     the log's history.
//	JS5  The leader purges only messages that the oldest kept snapshot does not need.
//	JS6  A follower trusts no message: it applies a frame only if the checksum is right and the frame
//	     follows its version by number and chain (RP1). It requests a missing, cut or altered message
//	     again; if it cannot get the message, it begins again with a snapshot. It keeps the space that
//	     it had beside the new one, and logs its name. It reports a damaged snapshot, and begins with
//	     the one before; if that fails as well, it asks the leader for a new snapshot, and waits.
//	JS7  A follower acknowledges a version when it is on its disk, together with the chain. The leader
//	     counts the acknowledgement only if it has published that version with that chain. So an
//	     Update WithReplicas(n) returns when n copies have its version, and the log has it as well.
//	JS8  A copy claims the log only when it has applied all of it, and the log is part of the copy's
//	     history. Unless it is forced, it also needs that no other copy has reported a newer version
//	     (then JetStream has lost messages). It claims first, and makes the space writable afterwards:
//	     a copy whose claim fails is a follower as before, and has nothing to undo. The new leader
//	     sends again its versions beyond the log's end (JS3).
//	JS9  So no version is lost that was acknowledged WithReplicas(1) or more. It is in the log (JS7),
//	     and every copy that claims has applied it (JS8). If JetStream loses it later, the leader
//	     sends it again (JS3). If the leader is gone as well, the follower that has acknowledged the
//	     version claims, and sends it again; no other copy claims while that follower can be reached,
//	     or its report is there (JS8). Only the loss of all three, or force, loses the version.
//	JS10 A copy that has led, and finds that another copy has claimed the log, first makes its space a
//	     replica, so that no process writes to it any more. Then it writes its tail, the frames that
//	     the log lacks, to a file. Only then it forgets that it has led. If it is killed in between,
//	     it repeats these steps.
//	JS11 No copy waits for an answer without limit. An answer is lost with its connection, and a
//	     restarted server does not know the question. So each call has a few seconds of its own,
//	     whatever the deadline of the program's context, and the copy repeats it.
//
// Leases only decide when to claim. Which copy leads is decided by JS1.
//
// Start reading at Lead and Leader.run, then Follow and Follower.run, then Follower.Promote.
package replica
