package script

import (
	"fmt"
	"strings"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/words"
	"github.com/singledecree/paxos/paxostest"
)

// A player plays a script that is text, a command a line. The events of a command stand below it, indented:
//
//	# A comment.
//	servers 3
//	drop 1->3 accept
//	propose 1 lunch "burger"
//	run
//	          0  1 -> 2: prepare 1.1 "burger" @lunch
//	         10  2 <- 1: prepare 1.1 "burger" @lunch
//
// The commands, with S for a server, N for a number, T for a time such as 20ms, MATCH for messages as paxostest.Match.String writes
// them, MESSAGE as Message.String writes it:
//
//	servers N [learners N] [MaxHint=N] [Silence=T]   a Sim; all that follows, the roles apart, is about it
//	propose S INSTANCE VALUE               a call; calls are numbered from 1
//	wait S INSTANCE | ready S | cancel N
//	crash S | crash-saved S | restart S | pause S | resume S | save-time S T | stand S
//	drop MATCH | hold MATCH | delay MATCH T | repeat MATCH T | clear
//	release MATCH | replay MATCH           held messages go on; sent ones come again
//	cut S S | cut S->S | isolate S | heal
//	inject S -> S: MESSAGE                 what no server sent
//	until sent|arrived MATCH | until saving S | until ended N
//	run [T]                                until nothing is due, or for that long
//	expect …                               see expect
//
// and, for the roles alone, see roles.
type player struct {
	world *paxostest.Sim
	shown int // entries of the log that have been written
	roles roles
	out   []string
}

// Play plays a script, and returns it with the events of this run in place of those before. An error is about a fault of the script, an
// expectation that did not hold, or an invariant that was broken. The events until then are returned with it.
func Play(script string) (played string, err error) {
	p := player{roles: newRoles()}
	var b strings.Builder
	for n, line := range strings.Split(strings.TrimSuffix(script, "\n"), "\n") {
		if strings.HasPrefix(line, " ") {
			continue
		}
		b.WriteString(line + "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		err := p.command(line)
		if err == nil && p.world != nil {
			err = p.world.Err()
		}
		for _, out := range p.take() {
			b.WriteString("    " + out + "\n")
		}
		if err != nil {
			return b.String(), fmt.Errorf("line %d: %s: %w", n+1, line, err)
		}
	}
	return b.String(), nil
}

// take returns what happened since it was called last.
func (p *player) take() (lines []string) {
	lines, p.out = p.out, nil
	if p.world == nil {
		return lines
	}
	for _, e := range p.world.Log()[p.shown:] {
		lines = append(lines, p.world.Line(e))
	}
	p.shown = len(p.world.Log())
	return lines
}

func (p *player) say(format string, args ...any) { p.out = append(p.out, fmt.Sprintf(format, args...)) }

// command carries out one command.
func (p *player) command(line string) error {
	a, err := split(line)
	if err != nil {
		return err
	}
	verb := a.word()
	switch verb {
	case "servers":
		err = p.open(a)
	case "acceptor", "proposer", "learner", "compare", "sort":
		err = p.role(verb, a)
	default:
		if p.world == nil {
			return fmt.Errorf("there are no servers yet")
		}
		err = p.act(verb, a)
	}
	if err == nil {
		err = a.end()
	}
	return err
}

// open makes the world.
func (p *player) open(a *arguments) error {
	c := paxostest.SimConfig{Servers: a.number(), Fail: func(error) {}}
	for len(a.words) > 0 {
		switch word := a.word(); {
		case word == "learners":
			c.Learners = a.number()
		case strings.HasPrefix(word, "MaxHint="):
			_, err := fmt.Sscanf(word, "MaxHint=%d", &c.Limits.MaxHint)
			a.fail(err)
		case strings.HasPrefix(word, "Silence="):
			d, err := time.ParseDuration(word[len("Silence="):])
			a.fail(err)
			c.Timing.Silence, c.Timing.MaxSilence = d, d
		default:
			a.fail(fmt.Errorf("%q is no setting", word))
		}
	}
	if a.err == nil {
		p.world = paxostest.NewSim(c)
	}
	return a.err
}

// act does something in the world.
func (p *player) act(verb string, a *arguments) error {
	w := p.world
	switch verb {
	case "propose":
		id, instance, v := a.server(), a.word(), a.value()
		a.then(func() { w.Propose(id, instance, v) })
	case "wait":
		id, instance := a.server(), a.word()
		a.then(func() { w.Wait(id, instance) })
	case "ready":
		id := a.server()
		a.then(func() { w.Ready(id) })
	case "cancel":
		c := p.call(a)
		a.then(func() { w.Cancel(c) })
	case "run":
		p.run(a)
	case "until":
		p.until(a)
	case "expect":
		p.expect(a)
	case "crash", "crash-saved", "restart", "pause", "resume", "isolate", "save-time", "stand":
		p.server(verb, a)
	case "cut", "heal", "clear", "drop", "hold", "delay", "repeat", "release", "replay":
		p.network(verb, a)
	case "inject":
		from, to, m := a.server(), a.to(), a.message()
		a.then(func() { w.Inject(from, to, m) })
	default:
		a.fail(fmt.Errorf("%q is no command", verb))
	}
	return a.err
}

func (p *player) server(verb string, a *arguments) {
	id := a.server()
	switch w := p.world; verb {
	case "crash":
		a.then(func() { w.Crash(id) })
	case "crash-saved":
		a.then(func() { w.CrashSaved(id) })
	case "restart":
		a.then(func() { w.Restart(id) })
	case "pause":
		a.then(func() { w.Pause(id) })
	case "resume":
		a.then(func() { w.Resume(id) })
	case "isolate":
		a.then(func() { w.Isolate(id) })
	case "stand":
		a.then(func() { w.Stand(id) })
	case "save-time":
		d := a.duration()
		a.then(func() { w.SaveTime(id, d) })
	}
}

func (p *player) network(verb string, a *arguments) {
	w := p.world
	switch verb {
	case "heal":
		a.then(w.Heal)
	case "clear":
		a.then(w.Clear)
	case "cut":
		if from, to, ok := a.link(); ok {
			a.then(func() { w.CutOneWay(from, to) })
		} else {
			one, other := a.server(), a.server()
			a.then(func() { w.Cut(one, other) })
		}
	case "delay", "repeat":
		m, d := a.match(), a.duration()
		a.then(func() {
			if verb == "delay" {
				w.Delay(m, d)
			} else {
				w.Repeat(m, d)
			}
		})
	default:
		m := a.match()
		a.then(func() {
			map[string]func(paxostest.Match){"drop": w.Drop, "hold": w.Hold, "release": w.Release, "replay": w.Replay}[verb](m)
		})
	}
}

func (p *player) run(a *arguments) {
	if len(a.words) == 0 {
		p.world.Run()
		return
	}
	d := a.duration()
	a.then(func() { p.world.RunFor(d) })
}

func (p *player) until(a *arguments) {
	w, what := p.world, strings.Join(a.words, " ")
	var cond func() bool
	switch word := a.word(); word {
	case "sent", "arrived":
		m := a.match()
		count, want := w.Sent, max(m.Nth, 1)
		if word == "arrived" {
			count = w.Arrived
		}
		cond = func() bool { return count(m) >= want }
	case "saving":
		id := a.server()
		cond = func() bool { return w.Saving(id) }
	case "ended":
		c := p.call(a)
		cond = func() bool { return c.Ended }
	default:
		a.fail(fmt.Errorf("until %q: want sent, arrived, saving or ended", word))
	}
	a.then(func() { w.Until(what, cond) })
}

func (p *player) call(a *arguments) *paxostest.Call {
	n := a.number()
	if a.err == nil && (n < 1 || n > len(p.world.Calls())) {
		a.fail(fmt.Errorf("there is no call %d", n))
	}
	if a.err != nil {
		return &paxostest.Call{}
	}
	return p.world.Calls()[n-1]
}

// expect checks what came of the script, so that nobody can overlook it when a golden file is rewritten:
//
//	expect call N returns VALUE | expect call N waits | expect call N fails "part of the error"
//	expect sent|arrived N MATCH     so many messages
//	expect disk S INSTANCE "words"  what a Save would be said to hold: "promised 1.1", "decided \"burger\"", "nothing"
//	expect faults N                 so many proofs that the protocol was broken
func (p *player) expect(a *arguments) {
	w := p.world
	check := func(got, want any) {
		if a.err == nil && got != want {
			a.fail(fmt.Errorf("it is %v", got))
		}
	}
	switch word := a.word(); word {
	case "call":
		p.expectCall(a, check)
	case "sent", "arrived":
		want, m := a.number(), a.match()
		if word == "sent" {
			check(w.Sent(m), want)
		} else {
			check(w.Arrived(m), want)
		}
	case "disk":
		id, instance, want := a.server(), a.word(), a.value()
		if rec := w.Stored(id, instance); rec == (paxos.Record{}) {
			check("nothing", string(want))
		} else {
			check(words.Record(rec), string(want))
		}
	case "faults":
		check(len(w.Faults()), a.number())
	default:
		a.fail(fmt.Errorf("expect %q: want call, sent, arrived, disk or faults", word))
	}
}

func (p *player) expectCall(a *arguments, check func(got, want any)) {
	c := p.call(a)
	switch word := a.word(); word {
	case "returns":
		check(c.Ended && c.Err == nil, true)
		check(c.Decision.Value, a.value())
	case "waits":
		check(c.Ended, false)
	case "fails":
		part := string(a.value())
		if a.err == nil && (c.Err == nil || !strings.Contains(c.Err.Error(), part)) {
			a.fail(fmt.Errorf("it is: %s", c))
		}
	default:
		a.fail(fmt.Errorf("expect call: %q: want returns, waits or fails", word))
	}
}
