package paxos

import (
	"fmt"
	"time"
)

// Limits bounds the memory and the messages of a server. A zero field means its default.
//
// All servers of a cluster should have the same MaxValue, because a server does not accept a larger value than its own
// MaxValue. Servers whose MaxValue or MaxPacket differ tell each other. A value that no quorum takes is then [ErrTooLarge],
// and [PeerStatus].Limits and the log show both sides.
type Limits struct {
	// MaxValue bounds the bytes of a value. Default and most: 1 MiB. A server has at most 8 MiB of values of 64 KiB or more in
	// flight; further ones wait.
	MaxValue int
	// MaxHint bounds the bytes of a value that a Prepare carries as a hint. Default: 64 KiB. A larger value is not hinted.
	MaxHint int
	// MaxPacket bounds the bytes of a Packet. Default: 4 MiB. A larger message travels alone.
	MaxPacket int
	// MaxBatch bounds the bytes of a Batch. Default: 4 MiB. A larger record is saved alone.
	MaxBatch int
	// MaxOpen bounds the undecided instances that calls wait for. Default: 65,536. A call beyond it fails with ErrBusy. The
	// server may hold twice as many instances in memory, and a few thousand more.
	MaxOpen int
	// MaxCalls bounds the calls that wait. Default: 65,536. A call beyond it fails with ErrBusy.
	MaxCalls int
	// Cache bounds the decisions kept in memory for late questions. Default: 4,096. They have at most 64 MiB of values.
	Cache int
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

// Check returns an error that names the first field out of range. A zero field is out of range: see [Limits.WithDefaults].
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

// Timing has the durations of a server. Safety does not depend on them. A zero field means its default.
type Timing struct {
	// Phase is the time that an attempt waits for a quorum before it asks the silent acceptors again. Default: 200 ms. It
	// should be more than a round trip and a save.
	Phase time.Duration
	// MaxBackoff bounds the random wait after an attempt that met a higher ballot. Default: 2 s. The bound is 8 times the
	// recent time of a phase, if that is more.
	MaxBackoff time.Duration
	// Silence is the time that a server waits for an instance, without proposing, before it asks the others again.
	// Default: 1 s. It doubles each time, up to MaxSilence. Default of MaxSilence: 30 s.
	Silence, MaxSilence time.Duration
	// Pull is the time between two questions to the others for decisions that this server has missed. Default: 5 s.
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

// Check returns an error that names the first field out of range: below 1 ms or above 1 hour. A zero field is out of range:
// see [Timing.WithDefaults].
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
