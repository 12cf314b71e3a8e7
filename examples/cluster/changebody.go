package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/singledecree/paxos"
)

// maxChange is more than 1,088 servers take, each with an address of 255 bytes that are all escapes.
const maxChange = 2 << 20

// readChange reads the body of a change. An error says what is wrong with it.
func readChange(w http.ResponseWriter, r *http.Request) (change, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxChange))
	var c change
	if err == nil {
		c, err = parseChange(body)
	}
	if err != nil {
		return change{}, fmt.Errorf("body: %w", err)
	}
	return c, nil
}

// parseChange takes one JSON object with all fields of a change, each once, and nothing after it. A list that is left out might mean
// that nothing changes there, or that nothing is left, and a change is for ever.
func parseChange(body []byte) (c change, err error) {
	if err := checkText(body); err != nil {
		return c, err
	}
	in := json.NewDecoder(bytes.NewReader(body))
	in.UseNumber()
	fields := []string{"acceptors", "learners", "addresses"}
	given, err := readObject(in, func(field string) error {
		switch field {
		case "acceptors":
			c.Acceptors, err = readServers(in)
		case "learners":
			c.Learners, err = readServers(in)
		case "addresses":
			c.Addresses, err = readAddresses(in)
		default:
			return fmt.Errorf("unknown field %q: want %s", field, strings.Join(fields, ", "))
		}
		if err != nil {
			return fmt.Errorf("%s: %w", field, err)
		}
		return nil
	})
	if err != nil {
		return change{}, err
	}
	if _, err := in.Token(); err != io.EOF {
		return change{}, errors.New("something follows the change: send one at a time")
	}
	for i, field := range fields {
		if !given[field] {
			return change{}, fmt.Errorf("%s: it is missing%s", field, []string{"", "; none is []", "; none is {}"}[i])
		}
	}
	return c, nil
}

// readServers reads an array of ServerIDs.
func readServers(in *json.Decoder) ([]paxos.ServerID, error) {
	switch open, err := in.Token(); {
	case err != nil:
		return nil, unexpected(err)
	case open != json.Delim('['):
		return nil, errors.New("it is not an array")
	}
	ids := []paxos.ServerID{}
	for in.More() {
		token, err := in.Token()
		if err != nil {
			return nil, unexpected(err)
		}
		number, ok := token.(json.Number)
		if !ok {
			return nil, fmt.Errorf("%v is not the ID of a server: want a number", token)
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

// readAddresses reads an object whose fields are ServerIDs.
func readAddresses(in *json.Decoder) (map[paxos.ServerID]string, error) {
	all := map[paxos.ServerID]string{}
	_, err := readObject(in, func(field string) error {
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
		if err := checkAddr(address); err != nil {
			return fmt.Errorf("server %d: %w", id, err)
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
