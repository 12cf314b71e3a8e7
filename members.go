package paxos

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Members lists the servers of a cluster. All its servers must be given the same Cluster, Acceptors and Quorum. Every
// [Packet] has a fingerprint of these three, and every storage has them in words. A server refuses a difference.
type Members struct {
	// Cluster names the cluster, so that servers of different clusters never talk to each other by mistake. The name follows
	// the rules of [CheckName].
	Cluster string
	// Acceptors are the servers that vote: 1 to 64, strictly ascending. [Weighted] and other quorums count them by their
	// position. Acceptors also propose and learn.
	Acceptors []ServerID
	// Learners propose and learn, but do not vote (S2). There are at most 1,024, strictly ascending, and none is an acceptor.
	Learners []ServerID
	// Quorum is over the Acceptors. Nil means [Majority].
	Quorum Quorum
	// Addresses are texts that a [Transport] understands, such as "10.0.0.1:7000", for any of the servers. Each has 1 to 255
	// bytes of valid UTF-8 without control characters. They are optional, and no part of what servers must agree on.
	Addresses map[ServerID]string
}

// Check returns an error that names the wrong field, or nil.
func (m Members) Check() error {
	if err := CheckName(m.Cluster); err != nil {
		return fmt.Errorf("Members.Cluster: %w", err)
	}
	if n := len(m.Acceptors); n < 1 || n > MaxAcceptors {
		return fmt.Errorf("Members.Acceptors: %d servers: want 1 to %d", n, MaxAcceptors)
	}
	if err := checkAscending(m.Acceptors); err != nil {
		return fmt.Errorf("Members.Acceptors: %w", err)
	}
	if len(m.Learners) > maxLearners {
		return fmt.Errorf("Members.Learners: %d servers: want at most %d", len(m.Learners), maxLearners)
	}
	if err := checkAscending(m.Learners); err != nil {
		return fmt.Errorf("Members.Learners: %w", err)
	}
	for _, id := range m.Learners {
		if m.Position(id) >= 0 {
			return fmt.Errorf("Members.Learners: server %d is an acceptor too: acceptors learn anyway", id)
		}
	}
	if err := CheckQuorum(m.quorum()); err != nil {
		return fmt.Errorf("Members.Quorum: %w", err)
	}
	if n := m.quorum().Size(); n != len(m.Acceptors) {
		return fmt.Errorf("Members.Quorum: %s counts %d acceptors, Members.Acceptors has %d", m.quorum(), n, len(m.Acceptors))
	}
	return m.checkAddresses()
}

// maxLearners bounds Members.Learners: each costs a copy of every decision.
const maxLearners = 1024

// maxAddress is the most bytes of one of Members.Addresses.
const maxAddress = 255

func (m Members) checkAddresses() error {
	for _, id := range m.addressed() {
		a := m.Addresses[id]
		switch flaw := textFlaw(a); {
		case !m.Has(id):
			return fmt.Errorf("Members.Addresses: server %d is neither an acceptor nor a learner", id)
		case a == "" || len(a) > maxAddress:
			return fmt.Errorf("Members.Addresses: address of server %d has %d bytes: want 1 to %d", id, len(a), maxAddress)
		case flaw != "":
			return fmt.Errorf("Members.Addresses: address of server %d %q %s", id, a, flaw)
		}
	}
	return nil
}

// addressed returns the servers in Addresses, in the order of their ServerIDs.
func (m Members) addressed() []ServerID {
	if len(m.Addresses) == 0 {
		return nil
	}
	return slices.Sorted(maps.Keys(m.Addresses))
}

func checkAscending(ids []ServerID) error {
	for i, id := range ids {
		if id == 0 {
			return fmt.Errorf("server 0 is not a valid ServerID")
		}
		if i > 0 && ids[i-1] >= id {
			return fmt.Errorf("server %d after %d: want strictly ascending", id, ids[i-1])
		}
	}
	return nil
}

func (m Members) quorum() Quorum {
	if m.Quorum == nil {
		return Majority(len(m.Acceptors))
	}
	return m.Quorum
}

// Position returns the place of id in Acceptors, from 0. It returns -1 if id is no acceptor.
func (m Members) Position(id ServerID) int {
	i, ok := slices.BinarySearch(m.Acceptors, id)
	if !ok {
		return -1
	}
	return i
}

// Has reports whether id is a server of the cluster.
func (m Members) Has(id ServerID) bool {
	return m.Position(id) >= 0 || slices.Contains(m.Learners, id)
}

// Voters returns the acceptors and the quorum in words, as [ServerState].Members has them: "1,2,3 majority(3)". Two Members
// with the same acceptors and the same quorum have the same words.
func (m Members) Voters() string {
	return string(appendServers(nil, m.Acceptors)) + " " + m.quorum().String()
}

// appendServers appends "1,2,3".
func appendServers(b []byte, ids []ServerID) []byte {
	for i, id := range ids {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, uint64(id), 10)
	}
	return b
}

// String returns in words what all servers must agree on: the cluster, the acceptors and the quorum.
func (m Members) String() string {
	return fmt.Sprintf("cluster %q, acceptors %s", m.Cluster, m.Voters())
}

// Fingerprint returns a number of the cluster, the acceptors and the quorum. It is the first 8 bytes, little-endian, of the
// SHA-256 of [Members.String]. Servers compare it in every [Packet]. Learners are no part of it, and may differ.
func (m Members) Fingerprint() uint64 { return fingerprint(m.String()) }

func fingerprint(words string) uint64 {
	sum := sha256.Sum256([]byte(words))
	return binary.LittleEndian.Uint64(sum[:])
}

// Clone returns a copy of m with slices and a map of its own, and with the default in place of a nil Quorum.
func (m Members) Clone() Members {
	m.Acceptors, m.Learners, m.Quorum, m.Addresses = slices.Clone(m.Acceptors), slices.Clone(m.Learners), m.quorum(), maps.Clone(m.Addresses)
	return m
}

// A Configuration is the members of a cluster from one change to the next. Configuration 0 is the one that the servers were
// formatted with. Each later one is the decision of a reserved instance: see [Configuration.Name].
type Configuration struct {
	Number  uint64 // from 0 to MaxConfiguration
	Members Members
	Before  uint64 // the Fingerprint of the configuration before this one; 0 in configuration 0
}

// Check returns an error that names the wrong field, or nil.
func (c Configuration) Check() error {
	switch {
	case c.Number > MaxConfiguration:
		return fmt.Errorf("Configuration.Number: %d: want at most %d", c.Number, MaxConfiguration)
	case c.Number == 0 && c.Before != 0:
		return fmt.Errorf("Configuration.Before: %x in configuration 0: want 0, because there is none before", c.Before)
	case c.Number > 0 && c.Before == 0:
		return fmt.Errorf("Configuration.Before: 0 in configuration %d: want the fingerprint of configuration %d", c.Number, c.Number-1)
	}
	if err := c.Members.Check(); err != nil {
		return fmt.Errorf("Configuration.%w", err)
	}
	return nil
}

// Fingerprint returns a number of what all servers of the configuration must agree on, as every [Packet] has it. In
// configuration 0 it is [Members.Fingerprint]. In later ones it is made in the same way, of the words "configuration 3, " and
// [Members.String]. Learners and addresses are no part of it.
func (c Configuration) Fingerprint() uint64 {
	if c.Number == 0 {
		return c.Members.Fingerprint()
	}
	return fingerprint("configuration " + strconv.FormatUint(c.Number, 10) + ", " + c.Members.String())
}

// Next returns the configuration after c, with the members m. It keeps no part of m.
//
// Else the error names the field that does not allow that. m must pass its Check and be of the same cluster. The acceptors of
// both are at most 64, and both quorums can be read from their words: see [ParseQuorum]. After [MaxConfiguration] there is none.
func (c Configuration) Next(m Members) (Configuration, error) {
	if c.Number >= MaxConfiguration {
		return Configuration{}, fmt.Errorf("Configuration.Number: %d is the last", c.Number)
	}
	if err := m.Check(); err != nil {
		return Configuration{}, err
	}
	if m.Cluster != c.Members.Cluster {
		return Configuration{}, fmt.Errorf("Members.Cluster: %q, the cluster is %q: it never changes", m.Cluster, c.Members.Cluster)
	}
	union := len(m.Acceptors)
	for _, id := range c.Members.Acceptors {
		if m.Position(id) < 0 {
			union++
		}
	}
	if union > MaxAcceptors {
		return Configuration{}, fmt.Errorf("Members.Acceptors: %d servers with those before: want at most %d, so change them in several steps", union, MaxAcceptors)
	}
	for _, q := range []Quorum{c.Members.quorum(), m.quorum()} {
		if p, err := ParseQuorum(q.String()); err != nil {
			return Configuration{}, fmt.Errorf("Members.Quorum: it can't change, nor be changed to, while servers run: %w", err)
		} else if p != q {
			return Configuration{}, fmt.Errorf("Members.Quorum: %s of type %T only has the words of a quorum of package paxos", q, q)
		}
	}
	return Configuration{c.Number + 1, m.Clone(), c.Fingerprint()}, nil
}

// Name returns the name of the reserved instance in which c was decided: see [ConfigurationName].
func (c Configuration) Name() string { return ConfigurationName(c.Number) }

// configurationNames begins the names of the instances of configurations.
const configurationNames = "$config/"

// ConfigurationName returns the name of the instance in which the configuration of that number is decided: "$config/3". No
// call can use it. Configuration 0 is not decided anywhere.
func ConfigurationName(number uint64) string {
	return configurationNames + strconv.FormatUint(number, 10)
}

// ConfigurationNumber returns the number of the configuration that is decided in that instance, from 1 to
// [MaxConfiguration]. ok is false for every other instance. It allocates nothing.
func ConfigurationNumber(instance string) (number uint64, ok bool) {
	if !strings.HasPrefix(instance, configurationNames) {
		return 0, false
	}
	number, rest, ok := cutNumber(instance[len(configurationNames):])
	if !ok || rest != "" || number > MaxConfiguration {
		return 0, false
	}
	return number, true
}

// configurationVersion is the version of the text form of a Configuration.
const configurationVersion = "1"

// maxConfigurationText is more than the bytes of any valid Configuration: 335 thousand.
const maxConfigurationText = 384 << 10

// String returns the text form of c. It is the value of the instance in which c is decided, and is the same in every later
// version of this package. Every line ends with "\n". Servers, and lines of addresses, are in the order of ServerIDs:
//
//	version 1
//	number 3
//	cluster prod
//	acceptors 1,2,4
//	learners 9
//	quorum majority(3)
//	address 1 10.0.0.1:7000
//	before 9b1deb4d3b7d4bad
//
// Before is in hexadecimal. A cluster without learners has "-" in their place. [ParseConfiguration] reads the text of every
// valid c with a quorum of this package.
func (c Configuration) String() string {
	b := append(make([]byte, 0, 256), "version "+configurationVersion+"\nnumber "...)
	b = strconv.AppendUint(b, c.Number, 10)
	b = append(b, "\ncluster "+c.Members.Cluster+"\nacceptors "...)
	b = appendServers(b, c.Members.Acceptors)
	b = append(b, "\nlearners "...)
	if len(c.Members.Learners) == 0 {
		b = append(b, '-')
	}
	b = appendServers(b, c.Members.Learners)
	b = append(b, "\nquorum "+c.Members.quorum().String()+"\n"...)
	for _, id := range c.Members.addressed() {
		b = strconv.AppendUint(append(b, "address "...), uint64(id), 10)
		b = append(b, " "+c.Members.Addresses[id]+"\n"...)
	}
	b = strconv.AppendUint(append(b, "before "...), c.Before, 16)
	return string(append(b, '\n'))
}

// ParseConfiguration reads the text form that [Configuration.String] writes, and nothing else. The result has passed
// [Configuration.Check], and may share memory with text. The memory that it takes is bounded by the length of text, of which
// 384 KiB are read at most.
func ParseConfiguration(text string) (Configuration, error) {
	c, err := parseConfiguration(text)
	if err != nil {
		return Configuration{}, fmt.Errorf("paxos: configuration: %w", err)
	}
	return c, nil
}

func parseConfiguration(text string) (c Configuration, err error) {
	if len(text) > maxConfigurationText {
		return c, fmt.Errorf("text has %d bytes: want at most %d", len(text), maxConfigurationText)
	}
	p := configurationParser{rest: text}
	if v := p.line("version "); p.err == nil && v != configurationVersion {
		return c, fmt.Errorf("format version %q, but this program knows only version %s", shorten(v), configurationVersion)
	}
	c.Number = p.number("number ", 10)
	c.Members.Cluster = p.line("cluster ")
	c.Members.Acceptors = p.servers("acceptors ", MaxAcceptors)
	if !p.skip("learners -\n") {
		c.Members.Learners = p.servers("learners ", maxLearners)
	}
	if words := p.line("quorum "); p.err == nil {
		c.Members.Quorum, p.err = ParseQuorum(words)
	}
	for p.err == nil && strings.HasPrefix(p.rest, "address ") {
		id, address, _ := strings.Cut(p.line("address "), " ")
		n, _ := strconv.ParseUint(id, 10, 64)
		if c.Members.Addresses == nil {
			c.Members.Addresses = map[ServerID]string{}
		}
		c.Members.Addresses[ServerID(n)] = address
	}
	c.Before = p.number("before ", 16)
	if p.err != nil {
		return c, p.err
	}
	if err := c.Check(); err != nil {
		return c, err
	}
	if again := c.String(); again != text { // each Configuration has one form, so that texts can be compared
		at := 0
		for at < min(len(again), len(text)) && again[at] == text[at] {
			at++
		}
		return c, fmt.Errorf("%q is not what a server writes at byte %d", shorten(text[at:]), at)
	}
	return c, nil
}

// A configurationParser takes lines from the front of rest. After the first error it takes nothing more.
type configurationParser struct {
	rest string
	err  error
}

// line takes the next line, and returns what follows the prefix.
func (p *configurationParser) line(prefix string) string {
	line, rest, whole := strings.Cut(p.rest, "\n")
	after, ok := strings.CutPrefix(line, prefix)
	if p.err == nil && (!ok || !whole) {
		p.err = fmt.Errorf("want a line that begins with %q in place of %q", prefix, shorten(line))
	}
	if p.err != nil {
		return ""
	}
	p.rest = rest
	return after
}

// skip takes prefix, if it is next.
func (p *configurationParser) skip(prefix string) bool {
	rest, ok := strings.CutPrefix(p.rest, prefix)
	if ok && p.err == nil {
		p.rest = rest
	}
	return ok
}

// number takes a line that is one number.
func (p *configurationParser) number(prefix string, base int) uint64 {
	word := p.line(prefix)
	n, err := strconv.ParseUint(word, base, 64)
	if p.err == nil && err != nil {
		p.err = fmt.Errorf("%s%q: want a number of base %d and 64 bits", prefix, shorten(word), base)
	}
	return n
}

// servers takes a line of ServerIDs, at most most.
func (p *configurationParser) servers(prefix string, most int) []ServerID {
	list := p.line(prefix)
	if p.err != nil {
		return nil
	}
	n := strings.Count(list, ",") + 1
	if n > most {
		p.err = fmt.Errorf("%s%q: %d servers: want at most %d", prefix, shorten(list), n, most)
		return nil
	}
	ids := make([]ServerID, 0, n)
	for word := range strings.SplitSeq(list, ",") {
		id, err := strconv.ParseUint(word, 10, 64)
		if err != nil {
			p.err = fmt.Errorf("%s%q: want ServerIDs in decimal, with a comma between them", prefix, shorten(list))
			return nil
		}
		ids = append(ids, ServerID(id))
	}
	return ids
}
