package replica

import "github.com/singledecree/paxos"

// enter makes p the attempt of inst. Nothing has left yet.
func (r *Replica) enter(inst *instance, p paxos.Proposer, why purpose) {
	if !inst.calls.asks() {
		r.endAsking(inst)
	}
	a := &inst.attempt
	a.exposed = a.exposed && a.Own() == p.Own() // a value that left in an earlier ballot has left for good
	a.Proposer, a.direct = p, p.Asking()
	a.state, a.purpose, a.began, a.asked, a.resends, a.acceptWaits = attemptRunning, why, r.now, r.now, 0, false
	switch why {
	case forTakeover:
		r.takeovers++
	case forCalls:
		r.inflight.admit(a)
	}
	r.counters.Attempts++
	r.timers.set(inst, alarmAttempt, r.now+r.inflight.resendAfter(a, &r.timing))
}

// prepareOf returns the Prepare of the attempt. Its hint, the value that the attempt wants, helps another server to finish
// the instance (S6, S12). A value above Limits.MaxHint is not worth sending twice.
func (r *Replica) prepareOf(inst *instance) paxos.Message {
	m := inst.attempt.Prepare()
	m.Instance = inst.name
	if len(m.Value) > r.limits.MaxHint {
		m.Value = ""
	}
	return m
}

// maySayYes reports whether this acceptor may answer m at all. An acceptor of the configuration before promises, and does not vote.
// The next configuration is decided by acceptors that are complete: otherwise there would be a third one to be asked.
func (r *Replica) maySayYes(m *paxos.Message) bool {
	if r.view.IsJoint() && m.Kind == paxos.KindAccept && !r.voters.Has(r.position) {
		return false
	}
	number, ok := paxos.ConfigurationNumber(m.Instance)
	return !ok || number == r.view.Number()+1 && r.complete
}
