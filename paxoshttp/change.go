package paxoshttp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/singledecree/paxos"
)

// A Change is the body of a change: the next members. All addresses are those of the configuration.
type Change struct {
	Acceptors []paxos.ServerID          `json:"acceptors"`
	Learners  []paxos.ServerID          `json:"learners"`
	Addresses map[paxos.ServerID]string `json:"addresses"`
	// Quorum is the text of a quorum, as [paxos.ParseQuorum] reads it. Empty means the majority of the acceptors, if the present
	// quorum is the majority of the present ones. Else it has to be given.
	Quorum string `json:"quorum,omitempty"`
}

// NewChange returns members in the form of the API.
func NewChange(m paxos.Members) Change {
	c := Change{Acceptors: slices.Clone(m.Acceptors), Learners: slices.Clone(m.Learners), Addresses: map[paxos.ServerID]string{}}
	if c.Acceptors == nil {
		c.Acceptors = []paxos.ServerID{}
	}
	if c.Learners == nil {
		c.Learners = []paxos.ServerID{}
	}
	for id, addr := range m.Addresses {
		c.Addresses[id] = addr
	}
	if m.Quorum != nil && m.Quorum != paxos.Majority(len(m.Acceptors)) {
		c.Quorum = m.Quorum.String()
	}
	return c
}

// Votes reports whether the server is one of the acceptors.
func (c Change) Votes(id paxos.ServerID) bool { return slices.Contains(c.Acceptors, id) }

// Has reports whether the server is an acceptor or a learner.
func (c Change) Has(id paxos.ServerID) bool { return c.Votes(id) || slices.Contains(c.Learners, id) }

// members returns the members that c asks for, after those of now.
func (c Change) members(now paxos.Members) (paxos.Members, error) {
	m := paxos.Members{Cluster: now.Cluster, Acceptors: c.Acceptors, Learners: c.Learners, Addresses: c.Addresses}
	switch {
	case c.Quorum != "":
		q, err := paxos.ParseQuorum(c.Quorum)
		if err != nil {
			return m, coded(CodeMembers, fmt.Errorf("quorum: %w", err))
		}
		m.Quorum = q
	case now.Quorum != nil && now.Quorum != paxos.Majority(len(now.Acceptors)):
		return m, coded(CodeMembers, fmt.Errorf("quorum: it is missing: the present one is %s, so say which comes next", now.Quorum))
	}
	return m, nil
}

// parseChange takes one JSON object with all fields of a change, each once, and nothing after it. A list that is left out might mean
// that nothing changes there, or that nothing is left, and a change is for ever. Only a quorum may be left out.
func parseChange(body []byte) (c Change, err error) {
	if err := checkText(body); err != nil {
		return c, err
	}
	in := json.NewDecoder(bytes.NewReader(body))
	in.UseNumber()
	fields := []string{"acceptors", "learners", "addresses"}
	given, err := readObject(in, func(field string) error {
		switch field {
		case "acceptors":
			c.Acceptors, err = readServers(in, paxos.MaxAcceptors)
		case "learners":
			c.Learners, err = readServers(in, maxLearners)
		case "addresses":
			c.Addresses, err = readAddresses(in)
		case "quorum":
			c.Quorum, err = readQuorum(in)
		default:
			return fmt.Errorf("unknown field %q: want %s, and perhaps quorum", shorten(field), strings.Join(fields, ", "))
		}
		if err != nil {
			return fmt.Errorf("%s: %w", field, err)
		}
		return nil
	})
	if err != nil {
		return Change{}, err
	}
	if _, err := in.Token(); err != io.EOF {
		return Change{}, errors.New("something follows the change: send one at a time")
	}
	for i, field := range fields {
		if !given[field] {
			return Change{}, fmt.Errorf("%s: it is missing%s", field, []string{"", "; none is []", "; none is {}"}[i])
		}
	}
	return c, nil
}

// readQuorum reads the text of a quorum. An empty one would mean something else.
func readQuorum(in *json.Decoder) (string, error) {
	token, err := in.Token()
	if err != nil {
		return "", unexpected(err)
	}
	text, ok := token.(string)
	if !ok || text == "" {
		return "", errors.New(`it is not a text like "majority(3)"`)
	}
	return text, nil
}

// maxLearners is the most learners of a cluster.
const maxLearners = 1024

// readServers reads an array of at most so many ServerIDs.
func readServers(in *json.Decoder, most int) ([]paxos.ServerID, error) {
	switch open, err := in.Token(); {
	case err != nil:
		return nil, unexpected(err)
	case open != json.Delim('['):
		return nil, errors.New("it is not an array")
	}
	ids := []paxos.ServerID{}
	for in.More() {
		if len(ids) == most {
			return nil, fmt.Errorf("it has over %d servers", most)
		}
		token, err := in.Token()
		if err != nil {
			return nil, unexpected(err)
		}
		number, ok := token.(json.Number)
		if !ok {
			return nil, fmt.Errorf("%.64s is not the ID of a server: want a number", fmt.Sprint(token))
		}
		id, err := parseServer(number.String())
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	_, err := in.Token() // the end of the array
	return ids, unexpected(err)
}

// readAddresses reads an object whose fields are ServerIDs, of at most as many servers as a cluster has.
func readAddresses(in *json.Decoder) (map[paxos.ServerID]string, error) {
	all := map[paxos.ServerID]string{}
	_, err := readObject(in, func(field string) error {
		if len(all) == paxos.MaxAcceptors+maxLearners {
			return fmt.Errorf("it has over %d servers", len(all))
		}
		id, err := parseServer(field)
		if err != nil {
			return err
		}
		token, err := in.Token()
		if err != nil {
			return unexpected(err)
		}
		address, ok := token.(string)
		if !ok {
			return fmt.Errorf("server %d: it is not a string", id)
		}
		all[id] = address
		return nil
	})
	return all, err
}

// parseServer reads a ServerID in its only form.
func parseServer(text string) (paxos.ServerID, error) {
	id, err := strconv.ParseUint(text, 10, 64)
	if err != nil || id == 0 || strconv.FormatUint(id, 10) != text {
		return 0, fmt.Errorf("%.40q is not the ID of a server: want a number above 0", text)
	}
	return paxos.ServerID(id), nil
}
