package replica

import (
	"slices"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/durable"
)

// lazySave is how long the record of a decision may wait for a Save that something else needs.
const lazySave = 2 * time.Millisecond

// maxUnsaved bounds the values from other servers that wait for a Save. The others go on without a slow disk, so without a
// bound it would fill the memory.
const maxUnsaved = 64 << 20

// maxHeld bounds the replies that wait for Saves. Replies beyond it are lost, as they may be on any network.
const maxHeld = 1 << 18

// saves is the group commit of a server. One Save runs at a time. While it runs, the next batch gathers, so one Save serves
// every instance that waits.
type saves struct {
	booted       bool   // the first Save is done
	begun, ended uint64 // one Save at most is out: begun - ended is 0 or 1
	begunAt      time.Duration

	urgent             bool              // something waits for the next Save
	lazy               bool              // nothing waits, but a Save is due at lazyAt
	lazyAt             time.Duration     // see lazySave
	added, taken, kept uint64            // instances that came into gather so far, left it, and are durable: first in, first out
	ranges             []*instance       // records of forgotten ranges, all for the next batch; added and taken do not count them
	gather             []*instance       // changed since their last snapshot, each once
	unsaved            int               // bytes of the values in gather and running that are new to the storage
	arrived            int               // bytes of the values in the arrivals of instances that are being loaded
	running            []*instance       // in the snapshot of the Save that runs
	waitRun            []reply           // replies that leave when the Save that runs is done
	waitNew            []reply           // replies that leave when the next Save is
	batch              paxos.Batch       // of the Save that runs
	server             paxos.ServerState // the ServerState in the running Save, if there is one in it
	told               bool              // the Save that runs was noted as an event
	sealing            struct {          // see seal
		save uint64 // the Save that holds the configuration
		mark uint64 // see mark
	}
}

// isBooted reports whether the first Save is done.
func (s *saves) isBooted() bool { return s.booted }

// number is the number of the Save that began last. Saves count from 1.
func (s *saves) number() uint64 { return s.begun }

// tell notes whether an event tells of the Save that begins. isTold then returns that, once.
func (s *saves) tell(told bool) { s.told = told }

func (s *saves) isTold() (told bool) {
	told, s.told = s.told, false
	return told
}

// done is the number of Saves that are done.
func (s *saves) done() uint64 { return s.ended }

// out returns how long the Save that is out has taken; 0: no Save is out.
func (s *saves) out(now time.Duration) time.Duration {
	if s.begun != s.ended {
		return now - s.begunAt
	}
	return 0
}

// want asks for a Save: something waits for it.
func (s *saves) want() { s.urgent = true }

// wantLater asks for a Save that nothing waits for: see lazySave.
func (s *saves) wantLater(now time.Duration) {
	if !s.lazy {
		s.lazy, s.lazyAt = true, now+lazySave
	}
}

// wanted reports whether something waits for a Save and none is out.
func (s *saves) wanted() bool {
	return s.urgent && s.begun == s.ended
}

// add puts inst into the next batch, once.
func (s *saves) add(inst *instance) {
	if !inst.gathered {
		s.added++
		inst.gathered = true
		s.gather = append(s.gather, inst)
	}
}

// addFirst puts inst, which is the record of a range, into the next batch before all others, once.
func (s *saves) addFirst(inst *instance) {
	if !inst.gathered {
		inst.gathered = true
		s.ranges = append(s.ranges, inst)
	}
}

// comesLate reports whether inst is in line for a Save, which may be a later one than the next.
func (s *saves) comesLate(inst *instance) bool {
	return inst.gathered && !slices.Contains(s.ranges, inst)
}

// count counts the value of inst, which is in the next batch and new.
func (s *saves) count(inst *instance) {
	s.unsaved += len(inst.acceptor.Value) - inst.unsaved
	inst.unsaved = len(inst.acceptor.Value)
}

// full reports whether the disk is too far behind to take m. inst is the instance of m; nil: it is not in memory.
//
// A message that adds no value is taken, and so is one that a call waits for.
func (s *saves) full(inst *instance, m *paxos.Message) bool {
	waits := inst == nil || inst.loading // m waits for the instance to be loaded
	switch m.Kind {
	case paxos.KindPrepare:
		return waits && m.Value != "" && s.arrived+len(m.Value) > maxUnsaved
	case paxos.KindAccept, paxos.KindDecided, paxos.KindForward:
		return s.unsaved+s.arrived+len(m.Value) > maxUnsaved && (waits || inst.acceptor.Value != m.Value && !inst.chosen && inst.calls.len() == 0)
	}
	return false
}

// hurryAt returns when the lazy records need a Save of their own.
func (s *saves) hurryAt() (time.Duration, bool) { return s.lazyAt, s.lazy && !s.urgent }

func (s *saves) hurry(now time.Duration) {
	if s.lazy && s.lazyAt <= now {
		s.urgent = true
	}
}

// mark stands for all instances that are in a batch so far: see isKept.
func (s *saves) mark() uint64 { return s.added }

// isKept reports whether all instances are durable that were in a batch when mark returned that.
func (s *saves) isKept(mark uint64) bool { return mark <= s.kept }

// seal is called when this server enters a configuration. The next Save holds it.
func (s *saves) seal() { s.sealing.save, s.sealing.mark = s.begun+1, s.added }

// isSealed reports whether all is durable that this server did under the configurations before its own.
func (s *saves) isSealed() bool { return s.ended >= s.sealing.save && s.isKept(s.sealing.mark) }

// arrive counts so many bytes of values that came for instances that are being loaded. They go as a negative number.
func (s *saves) arrive(bytes int) { s.arrived += bytes }

// keepsUp reports whether the disk is not too far behind for decisions that are asked for.
func (s *saves) keepsUp() bool { return s.unsaved <= maxUnsaved/2 }

// hold keeps a reply until the stage after is past, which is not durable.Saved. It reports whether there was room for it.
func (s *saves) hold(inst *instance, to *peer, m *paxos.Message, after durable.Stage) bool {
	fits := len(s.waitRun)+len(s.waitNew) < maxHeld
	switch {
	case fits && after == durable.Flushing:
		s.waitRun = withReply(s.waitRun, inst, to, m)
	case fits:
		s.waitNew = withReply(s.waitNew, inst, to, m)
	}
	return fits
}

// withReply appends a reply to list. It copies m once.
func withReply(list []reply, inst *instance, to *peer, m *paxos.Message) []reply {
	list = append(list, reply{from: inst, to: to})
	list[len(list)-1].m = *m
	return list
}

// begin begins a Save, if there is anything to save. Next comes a snapshot of each instance of next, and then close.
func (s *saves) begin(now time.Duration, serverChanged bool) bool {
	if len(s.gather)+len(s.ranges) == 0 && !serverChanged {
		s.urgent = false // a Save that was out already held what was wanted
		return false
	}
	s.begun++
	s.begunAt = now
	return true
}

// next takes the instances of the Save that begins out of those that have gathered. It takes so many bytes of them, or one
// if that has more.
func (s *saves) next(most int) []*instance {
	n, size := 0, 0
	for ; n < len(s.gather) && s.booted; n++ {
		inst := s.gather[n]
		size += len(inst.name) + len(inst.acceptor.Value) + 64
		if size > most && n > 0 {
			break
		}
	}
	s.running = append(append(s.running[:0], s.ranges...), s.gather[:n]...)
	clear(s.ranges)
	s.ranges = s.ranges[:0]
	s.taken += uint64(n)
	rest := copy(s.gather, s.gather[n:])
	clear(s.gather[rest:])
	s.gather = s.gather[:rest]
	return s.running
}

// snapshot appends the present record of inst, if it has one.
func (s *saves) snapshot(inst *instance) {
	inst.acceptor.Stage = inst.acceptor.Stage.Begin()
	inst.gathered, inst.saving = false, true
	if inst.void {
		return
	}
	s.batch.Records = append(s.batch.Records, paxos.Record{Instance: inst.name, Chosen: inst.chosen, Index: inst.index})
	s.batch.Records[len(s.batch.Records)-1].Acceptor = inst.acceptor.Acceptor
}

// close returns the batch of the Save that began. A server that is not nil is in it, as it is now. drop is what it removes.
func (s *saves) close(server *paxos.ServerState, drop []paxos.NameRange) *paxos.Batch {
	s.splitReplies()
	s.urgent, s.lazy = len(s.gather) > 0, false
	s.batch.Server, s.batch.Drop = nil, drop
	if server != nil {
		s.server = *server
		s.batch.Server = &s.server
	}
	return &s.batch
}

// splitReplies moves the replies that the new snapshot covers to those that wait for the running Save. It covers all of
// them, unless the batch was too large to hold every change.
func (s *saves) splitReplies() {
	if len(s.gather) == 0 {
		s.waitRun, s.waitNew = s.waitNew, s.waitRun[:0]
		return
	}
	keep := s.waitNew[:0]
	for _, h := range s.waitNew {
		if h.from.gathered {
			keep = append(keep, h)
		} else {
			s.waitRun = append(s.waitRun, h)
		}
	}
	clear(s.waitNew[len(keep):])
	s.waitNew = keep
}

// end is called when the Save that is out is durable. It reports whether one was out.
func (s *saves) end() bool {
	if s.begun == s.ended {
		return false // there was none
	}
	s.ended++
	s.kept = s.taken
	clear(s.batch.Records) // an old record that the next batch does not write over would keep its values alive
	s.batch.Records = s.batch.Records[:0]
	return true
}

// take returns what the Save that ended held, and the replies that waited for it. The lists are taken off first: to release
// a reply can change instances and hold new replies. The caller gives them back: see reuse. server is nil if none was in it.
func (s *saves) take() (replies []reply, instances []*instance, server *paxos.ServerState) {
	for _, inst := range s.running {
		inst.acceptor.Stage = inst.acceptor.Stage.End()
	}
	replies, instances = s.waitRun, s.running
	s.waitRun, s.running = nil, nil
	return replies, instances, s.batch.Server
}

// boot notes that the first Save is done, and reports whether it was not noted before.
func (s *saves) boot() (first bool) {
	first, s.booted = !s.booted, true
	return first
}

// saved is called when inst, as the Save that ended held it, is durable.
func (s *saves) saved(inst *instance) {
	if inst.saving = false; !inst.gathered {
		s.unsaved -= inst.unsaved
		inst.unsaved = 0
	}
}

// reuse takes the lists of take back.
func (s *saves) reuse(replies []reply, instances []*instance) {
	clear(replies)
	clear(instances)
	s.waitRun, s.running = replies[:0], instances[:0]
}

// roundBlock is how many rounds a server reserves at once. A restart skips what is left of a block.
const roundBlock = 10_000

// rounds hands out the rounds of ballots, none of them twice, over attempts and restarts: "different proposers choose their numbers from
// disjoint sets of numbers, so two different proposers never issue a proposal with the same number. Each proposer remembers
// (in stable storage) the highest-numbered proposal it has tried to issue, and begins phase 1 with a higher proposal number
// than any it has already used." (Paxos Made Simple, 2.5; S6)
//
// Rounds are reserved in blocks, so that a ballot costs no Save of its own. No round above usable is used. usable is the
// number in a Save that is done.
type rounds struct {
	floor   uint64      // all up to it may have been used: ServerState.Rounds as stored before this start, or those of earlier configurations
	most    uint64      // the last round of the configuration
	last    uint64      // the last round used in this life, in any instance
	usable  uint64      // reserved by a Save that is done
	wanted  uint64      // to be reserved: ServerState.Rounds as of now
	waiting []*instance // want a ballot, but no round was usable
}

// begin reserves the first block of this life, in the configuration with that number. stored is ServerState.Rounds as stored
// before this start.
func (w *rounds) begin(stored, configuration uint64) {
	w.floor = stored
	w.enter(configuration)
}

// enter goes on with the rounds of the configuration with that number, which are above all of those before. It reserves its first
// block.
func (w *rounds) enter(configuration uint64) {
	w.floor, w.most = max(w.floor, paxos.Base(configuration).Round), lastRound(configuration)
	w.wanted = max(w.wanted, min(w.floor+roundBlock, w.most))
}

// lastRound returns the last round of the configuration with that number.
func lastRound(configuration uint64) uint64 { return paxos.Base(configuration).Round + paxos.MaxRound }

// top returns the last round of the configuration.
func (w *rounds) top() uint64 { return w.most }

// used returns the last round used in this life, in any instance.
func (w *rounds) used() uint64 { return w.last }

// reserved returns what ServerState.Rounds has to be.
func (w *rounds) reserved() uint64 { return w.wanted }

// next returns the next round of inst, above every one used or seen. If ok is false, it may not be used now. There are two
// cases:
//
//   - The round is 0. No round is left at all.
//   - Else more rounds are wanted: see reserved. inst waits until they are usable.
func (w *rounds) next(inst *instance) (round uint64, ok bool) {
	round, ok = w.hand(max(w.last, w.floor, inst.seen) + 1)
	if !ok && round != 0 && !inst.wantsRound {
		inst.wantsRound = true
		w.waiting = append(w.waiting, inst)
	}
	return round, ok
}

// take returns the next round, above every one used, for no instance. ok is false as in next.
func (w *rounds) take() (round uint64, ok bool) { return w.hand(max(w.last, w.floor) + 1) }

// hand hands out the round next, if it may be used now.
func (w *rounds) hand(next uint64) (round uint64, ok bool) {
	switch {
	case next > w.most:
		return 0, false
	case next > w.usable:
		w.reserve(next)
		return next, false
	}
	w.last = next
	if w.usable-next < roundBlock/2 {
		w.reserve(next) // ahead of need, with the next Save
	}
	return next, true
}

// above lifts all later rounds above that one, and reserves some.
func (w *rounds) above(round uint64) {
	if w.floor < round {
		w.floor = round
		w.reserve(max(w.last, w.floor) + 1)
	}
}

// reserve wants a block of rounds from next on, unless enough are wanted already.
func (w *rounds) reserve(next uint64) {
	next += uint64(len(w.waiting))
	if w.wanted < min(next+roundBlock/2, w.most) {
		w.wanted = min(next+roundBlock, w.most)
	}
}

// saved is called when a Save with that ServerState.Rounds is done. It returns the instances that waited for a round, if
// more rounds are usable now. They wait no more.
func (w *rounds) saved(rounds uint64) (waited []*instance) {
	if w.usable >= rounds {
		return nil
	}
	w.usable = rounds
	waited, w.waiting = w.waiting, nil
	return waited
}
