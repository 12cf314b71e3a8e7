package paxos

import (
	"fmt"
	"time"
)

// Limits bounds what a server holds and sends. A zero field means its default. Servers of one cluster should have the
// same MaxValue: a larger value than a server allows is not accepted there. Servers tell each other MaxValue and MaxPacket where
// they differ: a value that no quorum takes is ErrTooLarge, and PeerStatus.Limits and the log show both values.
type Limits struct {
	MaxValue  int // bytes of a value: 1 MiB, which is also the most; of 64 KiB and more, 8 MiB are under way from a server at a time
	MaxHint   int // bytes of a value that a Prepare carries as a hint: 64 KiB; a larger one is not hinted
	MaxPacket int // bytes of a Packet: 4 MiB; a message that is larger travels alone
	MaxBatch  int // bytes of a Batch: 4 MiB; a record that is larger is saved alone
	MaxOpen   int // undecided instances that calls wait for: 65,536; beyond, ErrBusy. In memory there may be twice as many, and a few thousand
	MaxCalls  int // calls that wait: 65,536; beyond, ErrBusy
	Cache     int // decisions kept in memory for late questions: 4,096, and no more than 64 MiB of values
}

// WithDefaults returns l with the default in place of each zero field.
func (l Limits) WithDefaults() Limits {
	for _, d := range []struct {
		field *int
		value int
	}{
		{&l.MaxValue, 1 << 20}, {&l.MaxHint, 64 << 10}, {&l.MaxPacket, 4 << 20}, {&l.MaxBatch, 4 << 20},
		{&l.MaxOpen, 65536}, {&l.MaxCalls, 65536}, {&l.Cache, 4096},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	return l
}

// Check returns an error that names the first field that is out of range. It takes no zero field for its default: see WithDefaults.
func (l Limits) Check() error {
	for _, d := range []struct {
		name             string
		value, low, high int
	}{
		{"MaxValue", l.MaxValue, 1, 1 << 20}, {"MaxHint", l.MaxHint, 1, 1 << 20},
		{"MaxPacket", l.MaxPacket, 4 << 10, 64 << 20}, {"MaxBatch", l.MaxBatch, 4 << 10, 64 << 20},
		{"MaxOpen", l.MaxOpen, 1, 1 << 24}, {"MaxCalls", l.MaxCalls, 1, 1 << 24}, {"Cache", l.Cache, 1, 1 << 24},
	} {
		if d.value < d.low || d.value > d.high {
			return fmt.Errorf("Limits.%s: %d: want %d to %d, or 0 for the default", d.name, d.value, d.low, d.high)
		}
	}
	return nil
}

// Timing holds the durations of a server. No safety rests on them. A zero field means its default.
type Timing struct {
	// Phase is how long an attempt waits for a quorum before it asks the silent again: 200 ms. More than a round trip
	// and a save.
	Phase time.Duration
	// MaxBackoff bounds the random wait between attempts that met a higher ballot: 2 s, or 8 times what a phase took lately
	// where that is more.
	MaxBackoff time.Duration
	// Silence is how long a server that waits for an instance, without proposing, leaves it to the others before it
	// asks them again: 1 s. It doubles each time, up to MaxSilence: 30 s.
	Silence, MaxSilence time.Duration
	// Pull is how often a server asks the others whether they know of decisions that it has missed: 5 s.
	Pull time.Duration
}

// WithDefaults returns t with the default in place of each zero field.
func (t Timing) WithDefaults() Timing {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&t.Phase, 200 * time.Millisecond}, {&t.MaxBackoff, 2 * time.Second}, {&t.Silence, time.Second}, {&t.MaxSilence, 30 * time.Second},
		{&t.Pull, 5 * time.Second},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	return t
}

// Check returns an error that names the first field that is out of range: below 1 ms or above 1 hour. It takes no zero field for its
// default: see WithDefaults.
func (t Timing) Check() error {
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"Phase", t.Phase}, {"MaxBackoff", t.MaxBackoff}, {"Silence", t.Silence}, {"MaxSilence", t.MaxSilence}, {"Pull", t.Pull}} {
		if d.value < time.Millisecond || d.value > time.Hour {
			return fmt.Errorf("Timing.%s: %v: want 1ms to 1h, or 0 for the default", d.name, d.value)
		}
	}
	return nil
}
