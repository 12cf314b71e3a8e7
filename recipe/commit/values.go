package commit

import (
	"fmt"
	"slices"
	"strings"

	"github.com/singledecree/paxos"
)

// The values are texts, for ever. The list is "participants" or "aborted", and a line for each participant in the order of their
// names. A vote is "aborted", or "prepared" and a line with any bytes.
const (
	listHead     = "participants"
	preparedHead = "prepared\n"
	aborted      = "aborted"
)

func encodeList(names []string) paxos.Value {
	if names == nil {
		return aborted
	}
	return paxos.Value(listHead + "\n" + strings.Join(names, "\n"))
}

// decodeList returns the participants, or nil if the list was aborted. Its error names the instance, and wraps ErrFormat.
func decodeList(d paxos.Decision) ([]string, error) {
	if d.Value == aborted {
		return nil, nil
	}
	lines := strings.Split(string(d.Value), "\n")
	names := lines[1:]
	if lines[0] != listHead || len(names) == 0 || len(names) > MaxParticipants {
		return nil, wrong(d, "no list of participants")
	}
	for i, name := range names {
		if name == "" || strings.Contains(name, "/") || paxos.CheckName(name) != nil || i > 0 && names[i-1] >= name {
			return nil, wrong(d, "no list of different participants in the order of their names")
		}
	}
	return slices.Clip(names), nil
}

func encodeVote(v Vote) paxos.Value {
	if v.State == Aborted {
		return aborted
	}
	return preparedHead + v.With
}

// decodeVote reads a vote. Its error names the instance, and wraps ErrFormat.
func decodeVote(d paxos.Decision, participant string) (Vote, error) {
	if d.Value == aborted {
		return Vote{Participant: participant, State: Aborted}, nil
	}
	with, ok := strings.CutPrefix(string(d.Value), preparedHead)
	if !ok {
		return Vote{}, wrong(d, "no vote")
	}
	return Vote{Participant: participant, State: Prepared, With: paxos.Value(with)}, nil
}

func wrong(d paxos.Decision, reason string) error {
	return fmt.Errorf("commit: instance %q: %s: %w", d.Instance, reason, ErrFormat)
}
