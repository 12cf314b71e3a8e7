package proof_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var swarmCoverage = flag.Int("swarm.coverage", 0, "in so many seeds, demand that the swarm reaches every branch of the roles and every "+
	"way to recover: 1,000 times in 400,000 seeds, and in proportion")

// covered are the files whose every branch the swarm must reach: the roles, what is volatile, and each way to recover.
var covered = []string{"acceptor.go", "proposer.go", "learner.go", "internal/durable/durable.go", "internal/standing/floor.go", "internal/standing/ballot.go", "internal/standing/policy.go", "internal/standing/forward.go", "replica/instance.go", "replica/memos.go",
	"replica/table.go", "replica/state.go", "replica/silence.go", "replica/saves.go", "replica/send.go", "replica/ending.go", "replica/attempt.go",
	"replica/pull.go", "replica/catchup.go", "replica/fetch.go", "replica/watch.go", "replica/check.go", "replica/receive.go",
	"replica/import.go", "replica/packet.go", "replica/change.go", "replica/replica.go", "replica/forward.go", "replica/output.go", "replica/stands.go",
	"replica/standing.go", "replica/stood.go"}

// notCovered are the branches that no swarm can reach often, and why. Other tests reach each of them.
var notCovered = map[string]string{
	"internal/standing/ballot.go: return":                                 "the Replica tells of pages of acceptors alone; an acceptor with another storage is refused",
	"internal/standing/policy.go: p.lost = 0":                             "no seed lasts a minute",
	"acceptor.go: return a, Message{}, nil":                               "the Replica drops such messages before the role sees them",
	"proposer.go: return p, Message{}, nil":                               "the same",
	"learner.go: return l, nil":                                           "the same",
	"proposer.go: return Message{}":                                       "nobody prepares round 0",
	"replica/attempt.go: r.fault(inst, to, err)":                          "it takes a server that lies below a standing ballot",
	"replica/check.go: return \"this server does not vote\"":              "no Stand comes from such a server, or to one",
	"replica/check.go: return \"its ballot is another server's\"":         "the same",
	"replica/check.go: return \"its round is none of a standing ballot\"": "the same",
	"learner.go: return l, &SafetyError{Ballot: b, Values: [2]Value{l.value, v}, Reason: \"two values were chosen\"}": "an instance is decided by its first decision, and its learner is gone",
	"replica/check.go: return \"a server without a vote sent it\"":                                                    "no Stand comes from such a server, or to one",
	"replica/standing.go: return // no round is left":                                                                 "it takes 2^47 rounds",
	"replica/standing.go: return a, false":                                                                            "it takes a long list, or an instance that left memory unwatched",
	"replica/standing.go: if isOrdinary(name) && !add(name) {":                                                        "it takes 512 instances that the storage holds undecided",
	"replica/stood.go: r.counters.Dropped++":                                                                          "no server of the swarm asks so often, or answers such words",
	"replica/replica.go: r.timers.set(inst, alarmWatch, r.anotherTime())":                                             "it takes more than 64 takeovers at a time",
	"replica/replica.go: r.timers.put(&e.timer, r.anotherTime())":                                                     "the same",
	"replica/replica.go: own = \"\"":                                                                                  "it takes servers with other limits",
	"replica/attempt.go: r.endStuck(inst, err)":                                                                       "the same",
	"replica/attempt.go: r.abandon(inst) // until the next silence ends: other takeovers want room, too":              "the same",
	"replica/check.go: r.tellLimits(from, r.timing.Phase) // it waits for an answer":                                  "the same",
	"replica/ending.go: return e // no acceptor was waited for":                                                       "the same",
	"replica/attempt.go: c = inst.calls.proposesShort()":                                                              "it takes values of 64 KiB",
	"replica/replica.go: r.admitWaiting()":                                                                            "the same",
	"replica/replica.go: r.openBacklog()":                                                                             "it takes 512 instances that the storage holds undecided",
	"replica/fetch.go: p.pull.restUntil(r.now + rest)":                                                                "it takes a page of 64 names",
	"replica/pull.go: { q.rest = at }":                                                                                "the same",
	"replica/replica.go: return nil, fmt.Errorf(\"paxos: %w\", err)":                                                  "there is no wrong configuration in the swarm",
	"replica/replica.go: return 0, false":                                                                             "it stops with its host",
	"replica/state.go: r.trips = append(r.trips, paxos.RoundTrip{Kind: kind, Duration: r.now - since})":               "the swarm observes nothing",
	"replica/ending.go: e := r.event(paxos.EventFault)":                                                               "the swarm traces nothing",
	"replica/ending.go: e := r.event(paxos.EventDone)":                                                                "the same",
	"replica/ending.go: r.event(paxos.EventLearned).Message = paxos.Message{Kind: paxos.KindDecided, Instance: inst.name, Ballot: b, Value: v}": "the same",
	"replica/packet.go: r.messageEvent(paxos.EventDrop, from.id, p.Boot, p.Seq, m, errors.New(why))":                                            "the same",
	"replica/packet.go: r.messageEvent(paxos.EventReceive, from.id, p.Boot, p.Seq, m, nil)":                                                     "the same",
	"replica/replica.go: r.event(paxos.EventSaved).Save = s.done()":                                                                             "the same",
	"replica/replica.go: { r.tracing = t }":                                                                                                     "the same",
	"replica/saves.go: { s.told = told }":                                                                                                       "the same",
	"replica/send.go: for i := range ms {":                                                                                                      "the same",
	"replica/send.go: r.messageEvent(paxos.EventSend, to.id, to.identity.boot(), seq, &ms[i], nil)":                                             "the same",
	"replica/send.go: r.saveEvents(batch)":                                                                                                      "the same",
	"replica/send.go: s, told := &r.saves, r.tracing.OneIn <= 1":                                                                                "the same",
	"replica/send.go: told = told || r.traces(batch.Records[i].Instance)":                                                                       "the same",
	"replica/send.go: if s.tell(told); !told {":                                                                                                 "the same",
	"replica/send.go: r.event(paxos.EventSave).Save = s.number()":                                                                               "the same",
	"replica/send.go: rec := &batch.Records[i]":                                                                                                 "the same",
	"replica/send.go: continue":                                                                                                                 "the same",
	"replica/send.go: e := r.event(paxos.EventRecord)":                                                                                          "the same",
	"replica/send.go: e.Message.Kind = paxos.KindDecided":                                                                                       "the same",
	"replica/state.go: e := r.event(kind)":                                                                                                      "the same",
	"replica/state.go: e := r.event(paxos.EventCall)":                                                                                           "the same",
	"replica/state.go: r.events = append(r.events, paxos.Event{})":                                                                              "the same",
	"replica/ending.go: e.Storage = r.late(r.now - r.SaveWait(r.now))":                                                                          "it takes a call that ends while the disk is slow",
	"replica/state.go: return d":                                                                                                                "the same",
	"replica/ending.go: r.endCalls(inst, paxos.ErrRounds)":                                                                                      "it takes 2^48 rounds",
	"replica/ending.go: r.broken = slices.Delete(r.broken, 0, 1)":                                                                               "it takes more than 16 proofs",
	"replica/catchup.go: return false":                                                                                                          "it stops with its host, and answers what was asked",
	"replica/replica.go: return false":                                                                                                          "a host answers what was asked",
	"replica/replica.go: return true":                                                                                                           "it stops with its host",
	"proposer.go: { return p.highest }":                                                                                                         "it takes servers with other limits",
	"replica/send.go: { return r.saves.wanted() }":                                                                                              "a Node asks that, and no host of the swarm does",
	"replica/saves.go: return false // there was none":                                                                                          "no host of the swarm does that",
	"replica/send.go: { r.holdSaves = hold }":                                                                                                   "a Node holds Saves, and no host of the swarm does",
	"replica/replica.go: { return r.server.Boot }":                                                                                              "the swarm knows which start it is",
	"replica/replica.go: { return r.refusals + r.quorums.changed() + r.views }":                                                                 "the swarm logs nothing",
	"replica/watch.go: { return w.changes }":                                                                                                    "the same",
	"replica/pull.go: full = n.Index <= top":                                                                                                    "it takes more than 1,024 decisions",
	"replica/fetch.go: r.pulls.wait() // when the disk has gone on":                                                                             "it takes 32 MiB of values, or 1,024 instances that wait for the disk",
	"replica/pull.go: { w.more = true }":                                                                                                        "the same",
	"replica/fetch.go: r.counters.Dropped++":                                                                                                    "there is no such lie in the swarm",
	"replica/check.go: r.dropped(from, p, \"it names no storage\")":                                                                             "it takes an impostor: see replica/peers_test.go",
	"replica/check.go: r.messageEvent(paxos.EventDrop, p.From, p.Boot, p.Seq, &p.Messages[i], errors.New(why))":                                 "the same",
	"replica/check.go: for i := range p.Messages {":                                                                                             "the same",
	"replica/check.go: if m := &p.Messages[i]; m.Kind == paxos.KindRefuse {":                                                                    "the same",
	"replica/check.go: r.refusing(from, refusesUs+clip(string(m.Value)))":                                                                       "the same",
	"replica/check.go: why := fmt.Sprintf(\"its members differ: fingerprint %016x; here %s, fingerprint %016x\", p.Members, r.view.Current().Members, r.view.Fingerprint())": "the same",
	"replica/check.go: { // the peer's own words say which members it has":                                                                                                   "the same",
	"replica/check.go: r.dropped(from, p, why)":  "the same",
	"replica/check.go: return ' '":               "the same",
	"replica/check.go: r.refuseMembers(from, p)": "the same",
	"replica/check.go: r.refuse(from, p, fmt.Sprintf(\"the storage of server %d went back in time, from decision %d to %d\", p.From, from.identity.index(), p.Index))": "the same",
	"replica/check.go: store = pulls[p.id].Store": "it takes a storage of a version that did not name them",
	"replica/catchup.go: lag := r.index - told // or less: it has read on since it said so. Both servers must not wait": "it takes a server that lacks 16,384 decisions",
	"replica/catchup.go: return lag+farBehind > own":                                                                    "the same",
	"replica/catchup.go: return lag > own+2*farBehind":                                                                  "the same",
	"replica/fetch.go: if _, ok := r.forgets.covering(names); !ok {":                                                    "it takes 4,096 forgotten ranges",
	"replica/fetch.go: q.lack()":                                                                                        "the same",
	"replica/fetch.go: return // it has settled inst":                                                                   "it takes servers with other limits",
	"replica/pull.go: rest = q.came + time.Duration(n)*time.Second/pullPace - now":                                      "it takes a page of 64 decisions",
	"replica/table.go: decision = paxos.Acceptor{}":                                                                     "it takes values of 4 KiB",
	"replica/catchup.go: r.askSoon(p) // nothing else may come that says how far it is":                                 "it takes 64 decisions, and acceptors that do not talk",
	"replica/memos.go: most = min(most, max(t.len/2, 1))":                                                               "it takes 32 MiB of values",
	"replica/ending.go: inst.lateVoters = inst.lateVoters.With(to.position)":                                            "it takes values of 64 KiB",
	"replica/catchup.go: return Page{}, fmt.Errorf(\"decisions after %d: %w\", ask.After, err)":                         "no disk of the swarm fails a read",
	"replica/catchup.go: return Page{}, fmt.Errorf(\"load %q: %w\", n.Instance, err)":                                   "the same",
	"replica/catchup.go: n.Instance = \"\" // it has been forgotten since, and that has a higher Index":                 "the swarm lists and loads a page at one moment",
	"replica/check.go: return \"this server does not vote\" // it learns by its pulls what is forgotten":                "no server of the swarm asks such a server",
	"replica/memos.go: t.late--":                                                                                        "it takes values of 64 KiB",
	"replica/instance.go: u.lateVoters &^= paxos.Set(0).With(position)":                                                 "the same",
	"replica/attempt.go: r.counters.Dropped++":                                                                          "it takes 2^18 replies that wait",
	"replica/saves.go: s.urgent = false // a Save that was out already held what was wanted":                            "it takes a round that is wanted while the Save that reserves it runs",
	"replica/replica.go: panic(\"paxos: Saved without a Save\")":                                                        "no host of the swarm does that",
	"replica/replica.go: return":                                                                                        "it stops with its host",
	"replica/receive.go: return":                                                                                        "the same",
	"replica/receive.go: r.counters.Dropped++ // it is sent again":                                                      "it takes 64 MiB of values",
	"replica/receive.go: r.counters.Dropped++":                                                                          "it takes 1,024 instances that wait for the disk, or 64 messages for one that is being loaded",
	"replica/check.go: return \"it has no ballot\"":                                                                     "there is no such lie in the swarm",
	"replica/check.go: return \"nothing is decided in that instance\"":                                                  "the same",
	"replica/check.go: return \"a round is above MaxRound\"":                                                            "the same",
	"replica/check.go: return \"its value is too large\"":                                                               "the same",
	"replica/check.go: return \"its instance has no valid name\"":                                                       "the same",
	"replica/check.go: r.passed(inst)":                                                                                  "the same",
	"replica/catchup.go: return nil, fmt.Errorf(\"undecided instances: %w\", err)":                                      "no disk of the swarm fails a read",
	"replica/catchup.go: trim()":                                                                                        "it takes 512 undecided instances",
	"replica/ending.go: case c.Number != number:":                                                                       "no server of the swarm proposes a configuration that does not follow",
	"replica/ending.go: err = fmt.Errorf(\"it is configuration %d\", c.Number)":                                         "the same",
	"replica/ending.go: err = fmt.Errorf(\"it follows a configuration %d with the fingerprint %016x; here that has %016x\", r.view.Number(), c.Before, r.view.Fingerprint())": "the same",
	"replica/ending.go: return &paxos.SafetyError{Instance: name, Ballot: b, Reason: \"what was decided there is not the next configuration: \" + err.Error()}":               "the same",
	"replica/ending.go: r.fault(inst, from, err)":                                                    "the same",
	"replica/pull.go: { q.lacks = true }":                                                            "it takes servers with other limits",
	"replica/check.go: return \"its ballot is of another configuration\"":                            "there is no such lie in the swarm",
	"replica/replica.go: if r.saves.isBooted() {":                                                    "no host of the swarm stops with grace",
	"replica/replica.go: r.changeMembers()":                                                          "the same",
	"replica/replica.go: return nil":                                                                 "the same",
	"replica/send.go: { r.delayNotices = delay }":                                                    "a Node delays notices, and no host of the swarm does",
	"replica/send.go: for i := range r.peers {":                                                      "the same",
	"replica/send.go: if r.peers[i].outbox.len() > 0 {":                                              "the same",
	"replica/send.go: return true":                                                                   "the same",
	"replica/send.go: return false":                                                                  "the same",
	"replica/send.go: if !r.saves.isBooted() || r.stop != nil {":                                     "the same",
	"replica/send.go: return":                                                                        "the same",
	"replica/send.go: r.peers[i].outbox.leave() // the packets of the last Take or Flush stay valid": "the same",
	"replica/send.go: delay := r.delayNotices":                                                       "the same",
	"replica/send.go: bare := *m":                                                                    "it takes servers with other limits",
	"replica/change.go: continue // another one has ended it":                                        "no work on one instance ends another one, so far",
	"replica/change.go: // see askToForget: this server votes now":                                   "it takes a Forget of a range by a server that becomes an acceptor meanwhile",
	"replica/change.go: r.spread(inst)":                                                              "the same",
	"replica/change.go: err = fmt.Errorf(\"the configuration has %d bytes, at most %d are allowed by Limits.MaxValue: %w\", len(text), r.limits.MaxValue, paxos.ErrTooLarge)":                     "it takes servers with other limits",
	"replica/change.go: lacking = append(lacking, fmt.Errorf(\"server %d takes values of %d bytes at most by Limits.MaxValue, and this server takes %d\", id, p.takes.value, r.limits.MaxValue))": "the same",
	"replica/change.go: lacking = append(lacking, fmt.Errorf(\"server %d lacks %d decisions\", id, r.index-p.listing.told()))":                                                                    "it takes 65,536 decisions",
	"replica/change.go: r.ended(id, \"\", paxos.Decision{}, unsent(opSettled, \"\", err))":                                                                                                        "the swarm asks that of members",
	"replica/change.go: return fmt.Errorf(\"ServerState.Configuration: %w\", err)":                                                                                                                "no storage of the swarm says that",
	"replica/change.go: return fmt.Errorf(\"ServerState.Before: %w\", err)":                                                                                                                       "the same",
	"replica/import.go: r.counters.Dropped++ // it is asked for again":                                                                                                                            "it takes 1,024 instances that wait for the disk",
	"replica/import.go: return":                 "a Query is answered with a Nack only in a forgotten instance",
	"replica/import.go: r.adopt(inst, m.Value)": "it takes a name that is forgotten between a page of an import and the answer",
	"replica/import.go: r.imports.Knows(name)":  "it takes a name that is decided between a page of an import and the question",
	"replica/import.go: r.send(p, &paxos.Message{Kind: paxos.KindScan, Value: change.ScanText(r.server.Boot, seq, after)})": "it takes 256 undecided instances",
	"replica/packet.go: if !r.guests[0].refusal.mayTell(r.now, r.timing.Phase) {":                                           "it takes 64 strangers",
	"replica/packet.go: return nil":                                                                "the same",
	"replica/packet.go: r.guests[0].gone = true":                                                   "the same",
	"replica/packet.go: p = r.guest(r.teller)":                                                     "it takes a server that is told of a change by one that came later",
	"replica/packet.go: r.counters.Strangers++":                                                    "the same",
	"replica/packet.go: r.dropped(from, p, \"it is of another storage\")":                          "no server is wiped where members change",
	"replica/silence.go: return len(all)":                                                          "it takes an acceptor that is removed with the only vote of an instance",
	"replica/ending.go: return nil // it is looked at when the configurations before it are known": "packets bring no configuration but the next one; a decision among others is known already",
	"replica/send.go: for _, p := range r.guests {":                                                "a Node delays notices, and no host of the swarm does",
	"replica/send.go: p.outbox.leave()":                                                            "the same",
	"replica/attempt.go: v = inst.asking.earlier.value":                                            "it takes a Read that finds votes of an earlier configuration alone: 45 times in 20,000 seeds",
	"replica/import.go: r.imports.Knows(m.Instance)":                                               "it takes a name that is decided between the question and the answer: 44 times in 20,000 seeds",
	"internal/standing/forward.go: f.calls = 0":                                                    "it takes 64 calls that may be forwarded, at one server",
	"internal/standing/forward.go: f.back = 0":                                                     "it takes a server that was silent while a call waited, and stands still: 4 times in 20,000 seeds",
	"internal/standing/forward.go: f.back = now":                                                   "the same",
	"internal/standing/forward.go: return true":                                                    "the same",
	"internal/standing/forward.go: f.silent, f.back = 0, 0":                                        "the same, and a second more",
	"replica/check.go: return \"nothing is forwarded by that server, or in that instance\"":        "no server without a vote forwards",
	"replica/forward.go: return nil":                                                               "it takes a value of 64 KiB, or a server that stood and does not vote any more",
	"replica/forward.go: r.endWithoutRounds(inst)":                                                 "it takes a round that is wanted while the Save that reserves it runs",
	"replica/forward.go: r.counters.Dropped++":                                                     "it takes 64 MiB of values, or 1,024 instances that wait for the disk",
	"replica/forward.go: r.refuseForward(from, m.Instance, m.Ballot)":                              "the same",
	"replica/receive.go: r.loses(from, m)":                                                         "the same",
	"replica/output.go: return \"mint\"":                                                           "the swarm mints no names",
	"replica/output.go: return err":                                                                "there is no wrong configuration in the swarm",
	"replica/output.go: return fmt.Errorf(\"ServerState.Configuration: %w\", err)":                 "the same",
	"replica/standing.go: r.endStand()":                                                            "it takes three attempts in a row that lose: 44 times in 20,000 seeds",
	"replica/standing.go: r.answerDecided(inst.decision(), a.peer, paxos.KindForward)":             "it takes a decision of another server beside an attempt for a Forward: 17 times in 20,000 seeds",
	"replica/stands.go: known.ballot = a.ballot":                                                   "no server forwards twice in a name while the first waits",
	"replica/saves.go: return 0, false":                                                            "it takes 2^48 rounds",
}

const module = "github.com/singledecree/paxos"

// coveredPackages are those of the covered files.
var coveredPackages = []string{module, module + "/replica", module + "/internal/durable", module + "/internal/standing"}

// TestSwarmCoverage counts how often the swarm comes through each branch.
func TestSwarmCoverage(t *testing.T) {
	if *swarmCoverage == 0 {
		t.Skip("give -swarm.coverage: it takes a minute and more")
	}
	dir := t.TempDir()
	binary := filepath.Join(dir, "counted.test")
	out, err := exec.Command("go", "test", "-c", "-vet=off", "-covermode=atomic", "-coverpkg="+strings.Join(coveredPackages, ","), "-o", binary, ".").CombinedOutput()
	require.NoError(t, err, "%s", out)
	blocks := map[string]int{}
	for i, seeds := range [][3]int{{0, 1, *swarmCoverage}, {9, 10, 2 * *swarmCoverage}} { // all kinds, then those with a liar
		profile := filepath.Join(dir, fmt.Sprint("profile", i))
		out, err := exec.Command(binary, "-test.run", "^TestSwarm$", "-swarm.from", fmt.Sprint(seeds[0]), "-swarm.step", fmt.Sprint(seeds[1]),
			"-swarm.seeds", fmt.Sprint(seeds[2]), "-test.coverprofile", profile, "-test.timeout", "60m").CombinedOutput()
		require.NoError(t, err, "%s", out)
		addProfile(t, profile, blocks)
	}
	least := 1000 * *swarmCoverage / 400_000
	require.NotEmpty(t, blocks)
	seldom := map[string]bool{}
	places := make([]string, 0, len(blocks))
	for place := range blocks {
		places = append(places, place)
	}
	slices.Sort(places)
	for _, place := range places {
		times := blocks[place]
		file, line := sourceLine(t, place)
		if text := file + ": " + line; notCovered[text] != "" {
			seldom[text] = true
			continue
		}
		assert.GreaterOrEqual(t, times, least, "%s: %s", place, line)
	}
	for _, file := range covered {
		assert.True(t, slices.ContainsFunc(places, func(place string) bool { return strings.HasPrefix(place, file+":") }), "%s has no branch: did it move?", file)
	}
	for text := range notCovered {
		assert.True(t, seldom[text], "there is no such branch any more: %s", text)
	}
	t.Logf("%d branches, each %d times or more in %d seeds, but %d", len(blocks), least, 3**swarmCoverage, len(seldom))
}

var profileLine = regexp.MustCompile(`paxos/((?:[a-z]+/)*[a-z_]+\.go):(\d+)\.(\d+),\S+ \d+ (\d+)$`)

// addProfile adds the counts of a profile, by "file:line:column".
func addProfile(t *testing.T, profile string, blocks map[string]int) {
	text, err := os.ReadFile(profile)
	require.NoError(t, err)
	for line := range strings.SplitSeq(strings.TrimSpace(string(text)), "\n") {
		m := profileLine.FindStringSubmatch(line)
		if m == nil || !slices.Contains(covered, m[1]) {
			continue
		}
		times, err := strconv.Atoi(m[4])
		require.NoError(t, err)
		blocks[m[1]+":"+m[2]+":"+m[3]] += times
	}
}

// sourceLine returns the first line inside a branch.
func sourceLine(t *testing.T, place string) (file, line string) {
	parts := strings.Split(place, ":")
	text, err := os.ReadFile(filepath.Join(repository, parts[0]))
	require.NoError(t, err)
	lines := strings.Split(string(text), "\n")
	at, err := strconv.Atoi(parts[1])
	require.NoError(t, err)
	column, err := strconv.Atoi(parts[2])
	require.NoError(t, err)
	if line = strings.TrimSpace(lines[at-1][column-1:]); line == "{" || line == "" {
		line = strings.TrimSpace(lines[at])
	}
	return parts[0], line
}
