package paxos

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// threeOf is a Quorum of a user's own: all of three.
type threeOf struct{ name string }

func (q threeOf) Size() int         { return 3 }
func (q threeOf) Phase1(s Set) bool { return s&All(3) == All(3) }
func (q threeOf) Phase2(s Set) bool { return s&All(3) == All(3) }
func (q threeOf) String() string    { return q.name }

// noQuorum has quorums that do not meet.
type noQuorum struct{ threeOf }

func (noQuorum) Phase2(s Set) bool { return s.Has(0) }
func (noQuorum) Phase1(s Set) bool { return s.Has(1) }

func upTo(n int) (ids []ServerID) {
	for i := range n {
		ids = append(ids, ServerID(i+1))
	}
	return ids
}

func TestMembersRefused(t *testing.T) {
	three := upTo(3)
	for _, tt := range []struct {
		name string
		m    Members
		want string
	}{
		{"no cluster", Members{Acceptors: three}, "Members.Cluster: name is empty"},
		{"cluster too long", Members{Cluster: fmt.Sprintf("%256d", 1), Acceptors: three}, "Members.Cluster: name has 256 bytes"},
		{"cluster not UTF-8", Members{Cluster: "\xff", Acceptors: three}, `Members.Cluster: name "\xff" is not valid UTF-8`},
		{"cluster with a control character", Members{Cluster: "a\nb", Acceptors: three}, "Members.Cluster: name \"a\\nb\" has a control"},
		{"no acceptors", Members{Cluster: "c"}, "Members.Acceptors: 0 servers: want 1 to 64"},
		{"too many acceptors", Members{Cluster: "c", Acceptors: upTo(65)}, "Members.Acceptors: 65 servers: want 1 to 64"},
		{"acceptor 0", Members{Cluster: "c", Acceptors: []ServerID{0, 1}}, "Members.Acceptors: server 0 is not a valid"},
		{"an acceptor twice", Members{Cluster: "c", Acceptors: []ServerID{1, 2, 2}}, "Members.Acceptors: server 2 after 2"},
		{"acceptors not ascending", Members{Cluster: "c", Acceptors: []ServerID{1, 3, 2}}, "Members.Acceptors: server 2 after 3"},
		{"too many learners", Members{Cluster: "c", Acceptors: []ServerID{5000}, Learners: upTo(1025)},
			"Members.Learners: 1025 servers: want at most 1024"},
		{"learner 0", Members{Cluster: "c", Acceptors: three, Learners: []ServerID{0}}, "Members.Learners: server 0 is not a valid"},
		{"a learner twice", Members{Cluster: "c", Acceptors: three, Learners: []ServerID{7, 7}}, "Members.Learners: server 7 after 7"},
		{"learners not ascending", Members{Cluster: "c", Acceptors: three, Learners: []ServerID{8, 7}}, "Members.Learners: server 7 after 8"},
		{"a learner that votes", Members{Cluster: "c", Acceptors: three, Learners: []ServerID{3}},
			"Members.Learners: server 3 is an acceptor too"},
		{"quorum of fewer", Members{Cluster: "c", Acceptors: three, Quorum: Majority(2)},
			"Members.Quorum: majority(2) counts 2 acceptors, Members.Acceptors has 3"},
		{"quorum of more", Members{Cluster: "c", Acceptors: three, Quorum: Majority(5)}, "Members.Quorum: majority(5) counts 5"},
		{"quorum of none", Members{Cluster: "c", Acceptors: three, Quorum: Majority(0)}, "Members.Quorum: "},
		{"quorums that do not meet", Members{Cluster: "c", Acceptors: three, Quorum: noQuorum{threeOf{"bad"}}},
			"Members.Quorum: paxos: quorum bad: phase-1 quorum {1} and phase-2 quorum {0} do not meet"},
		{"address of a stranger", Members{Cluster: "c", Acceptors: three, Addresses: map[ServerID]string{3: "a", 4: "b"}},
			"Members.Addresses: server 4 is neither an acceptor nor a learner"},
		{"empty address", Members{Cluster: "c", Acceptors: three, Addresses: map[ServerID]string{3: ""}},
			"Members.Addresses: address of server 3 has 0 bytes: want 1 to 255"},
		{"long address", Members{Cluster: "c", Acceptors: three, Addresses: map[ServerID]string{1: fmt.Sprintf("%256d", 1)}},
			"Members.Addresses: address of server 1 has 256 bytes: want 1 to 255"},
		{"address not UTF-8", Members{Cluster: "c", Acceptors: three, Addresses: map[ServerID]string{1: "a", 2: "\xff"}},
			`Members.Addresses: address of server 2 "\xff" is not valid UTF-8`},
		{"address with a control character", Members{Cluster: "c", Acceptors: three, Addresses: map[ServerID]string{2: "a\n"}},
			`Members.Addresses: address of server 2 "a\n" has a control character`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			state, err := FirstState(1, tt.m, 9)
			require.ErrorContains(t, err, "paxos: format: ")
			require.ErrorContains(t, err, tt.want)
			assert.Zero(t, state)
		})
	}
}

func TestMembersAccepted(t *testing.T) {
	grid, err := Grid(8, 8)
	require.NoError(t, err)
	for _, tt := range []struct {
		name string
		m    Members
		want string // of the storage's Members
	}{
		{"one server", Members{Cluster: "c", Acceptors: []ServerID{1}}, "1 majority(1)"},
		{"the most", Members{Cluster: "c", Acceptors: upTo(64), Quorum: grid}, ""},
		{"the greatest ServerID", Members{Cluster: "c", Acceptors: []ServerID{1, 1<<64 - 1}}, "1,18446744073709551615 majority(2)"},
		{"the longest name", Members{Cluster: fmt.Sprintf("%255d", 1), Acceptors: []ServerID{1}}, "1 majority(1)"},
		{"the most learners", Members{Cluster: "c", Acceptors: []ServerID{5000}, Learners: upTo(1024)}, "5000 majority(1)"},
		{"an address of each", Members{Cluster: "c", Acceptors: upTo(3), Learners: []ServerID{9},
			Addresses: map[ServerID]string{1: "a", 2: "ä:1", 3: fmt.Sprintf("%255d", 1), 9: "[::1]:7000"}}, "1,2,3 majority(3)"},
		{"a quorum of the user's own", Members{Cluster: "c", Acceptors: upTo(3), Quorum: threeOf{"all"}}, "1,2,3 all"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			state, err := FirstState(tt.m.Acceptors[0], tt.m, 9)
			require.NoError(t, err)
			if tt.want != "" {
				assert.Equal(t, tt.want, state.Members)
			}
		})
	}
}

func TestMembersString(t *testing.T) {
	flexible, err := Flexible(4, 3, 2)
	require.NoError(t, err)
	m := Members{Cluster: "a \"b\"", Acceptors: []ServerID{2, 3, 5, 7}, Learners: []ServerID{11}, Quorum: flexible}
	assert.Equal(t, `cluster "a \"b\"", acceptors 2,3,5,7 flexible(4,3,2)`, m.String())
	m.Quorum = nil
	assert.Equal(t, `cluster "a \"b\"", acceptors 2,3,5,7 majority(4)`, m.String())
}

// TestMembersFingerprint holds numbers that are part of the wire format: servers of two releases must agree on them.
func TestMembersFingerprint(t *testing.T) {
	flexible, err := Flexible(3, 3, 1)
	require.NoError(t, err)
	base := Members{Cluster: "cluster", Acceptors: []ServerID{1, 2, 3}}
	assert.EqualValues(t, uint64(0xb09ceb0d03d0aa1f), base.Fingerprint())

	same := map[string]Members{
		"the default quorum is Majority": {Cluster: "cluster", Acceptors: []ServerID{1, 2, 3}, Quorum: Majority(3)},
		"learners do not count":          {Cluster: "cluster", Acceptors: []ServerID{1, 2, 3}, Learners: []ServerID{4, 5}},
		"addresses do not count":         {Cluster: "cluster", Acceptors: []ServerID{1, 2, 3}, Addresses: map[ServerID]string{1: "a"}},
	}
	for name, m := range same {
		assert.Equal(t, base.Fingerprint(), m.Fingerprint(), name)
	}
	seen := map[uint64]string{base.Fingerprint(): "base"}
	for name, m := range map[string]Members{
		"cluster":         {Cluster: "clustes", Acceptors: []ServerID{1, 2, 3}},
		"fewer acceptors": {Cluster: "cluster", Acceptors: []ServerID{1, 2}},
		"other acceptors": {Cluster: "cluster", Acceptors: []ServerID{1, 2, 4}},
		"12 is not 1, 2":  {Cluster: "cluster", Acceptors: []ServerID{12, 3}},
		"quorum":          {Cluster: "cluster", Acceptors: []ServerID{1, 2, 3}, Quorum: flexible},
		"quorum, its own": {Cluster: "cluster", Acceptors: []ServerID{1, 2, 3}, Quorum: threeOf{"all"}},
	} {
		assert.NotContains(t, seen, m.Fingerprint(), "%s and %s", name, seen[m.Fingerprint()])
		seen[m.Fingerprint()] = name
	}
}

func TestMembersCloneSharesNothing(t *testing.T) {
	m := Members{Cluster: "c", Acceptors: upTo(2), Learners: []ServerID{9}, Addresses: map[ServerID]string{1: "a"}}
	c := m.Clone()
	m.Acceptors[0], m.Learners[0], m.Addresses[1] = 7, 7, "b"
	assert.Equal(t, Members{Cluster: "c", Acceptors: upTo(2), Learners: []ServerID{9}, Quorum: Majority(2), Addresses: map[ServerID]string{1: "a"}}, c)
	assert.Nil(t, Members{Cluster: "c", Acceptors: upTo(2)}.Clone().Addresses)
}

// goldenConfiguration is the one of testdata/golden/configuration.txt.
func goldenConfiguration() Configuration {
	q, err := Weighted([]int{2, 1, 1})
	if err != nil {
		panic(err)
	}
	return Configuration{Number: 3, Before: 0xfedcba9876543210, Members: Members{Cluster: "prod", Acceptors: []ServerID{1, 3, 4}, Learners: []ServerID{9, 12},
		Quorum: q, Addresses: map[ServerID]string{12: "ä:1", 1: "10.0.0.1:7000", 4: "[::1]:7000", 3: "any text = fine"}}}
}

// TestConfigurationText holds bytes that are decided values: every later version reads and writes them.
func TestConfigurationText(t *testing.T) {
	file := filepath.Join("testdata", "golden", "configuration.txt")
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(goldenConfiguration().String()), 0o644))
	}
	text, err := os.ReadFile(file)
	require.NoError(t, err, "run go test -run TestConfigurationText -update")
	assert.Equal(t, string(text), goldenConfiguration().String())
	c, err := ParseConfiguration(string(text))
	require.NoError(t, err)
	assert.Equal(t, goldenConfiguration(), c)
}

func TestConfigurationTextOfTheSmallestAndTheGreatest(t *testing.T) {
	small := Configuration{Members: Members{Cluster: "c", Acceptors: []ServerID{1}, Quorum: Majority(1)}}
	assert.Equal(t, "version 1\nnumber 0\ncluster c\nacceptors 1\nlearners -\nquorum majority(1)\nbefore 0\n", small.String())
	most := make([]int, 64)
	great := Members{Cluster: strings.Repeat("c", MaxName), Addresses: map[ServerID]string{}}
	for i := range MaxAcceptors + maxLearners {
		id := math.MaxUint64 - ServerID(MaxAcceptors+maxLearners) + ServerID(i)
		great.Addresses[id] = strings.Repeat("a", maxAddress)
		if i < MaxAcceptors {
			great.Acceptors, most[i] = append(great.Acceptors, id), 1<<16-1
		} else {
			great.Learners = append(great.Learners, id)
		}
	}
	var err error
	great.Quorum, err = Weighted(most)
	require.NoError(t, err)
	for _, c := range []Configuration{small, {Number: MaxConfiguration, Members: great, Before: math.MaxUint64}} {
		require.NoError(t, c.Check())
		text := c.String()
		assert.LessOrEqual(t, len(text), maxConfigurationText)
		got, err := ParseConfiguration(text)
		require.NoError(t, err)
		assert.Equal(t, c, got)
		assert.LessOrEqual(t, allocated(func() { _, _ = ParseConfiguration(text) }), uint64(16*len(text)+8<<10))
	}
	_, err = ParseConfiguration(strings.Repeat("x", maxConfigurationText+1))
	assert.EqualError(t, err, "paxos: configuration: text has 393217 bytes: want at most 393216")
}

func TestParseConfigurationRefusesAllElse(t *testing.T) {
	const good = "version 1\nnumber 3\ncluster c\nacceptors 1,2,3\nlearners 8,9\nquorum majority(3)\naddress 1 a\naddress 8 b\nbefore a1\n"
	c, err := ParseConfiguration(good)
	require.NoError(t, err)
	assert.Equal(t, Configuration{3, Members{"c", upTo(3), []ServerID{8, 9}, Majority(3), map[ServerID]string{1: "a", 8: "b"}}, 0xa1}, c)
	for n := range good {
		_, err := ParseConfiguration(good[:n])
		assert.Error(t, err, "%d bytes", n)
	}
	for _, tt := range []struct{ old, new, want string }{
		{"version 1", "version 2", `format version "2", but this program knows only version 1`},
		{"version 1\n", "", `want a line that begins with "version " in place of "number 3"`},
		{"number 3", "number", `want a line that begins with "number " in place of "number"`},
		{"number 3", "number x", `number "x": want a number of base 10`},
		{"number 3", "number -1", `number "-1": want a number of base 10`},
		{"number 3", "number 18446744073709551616", "want a number of base 10 and 64 bits"},
		{"number 3", "number 65535", "Configuration.Number: 65535: want at most 65534"},
		{"number 3", "number 03", `"03\ncluster c`},
		{"number 3", "number 0", "Configuration.Before: a1 in configuration 0: want 0"},
		{"cluster c", "cluster ", "Configuration.Members.Cluster: name is empty"},
		{"cluster c", "cluster \x00", "has a control character"},
		{"cluster c", "cluster \r", "has a control character"},
		{"acceptors 1,2,3", "acceptors 1,2,,3", `acceptors "1,2,,3": want ServerIDs in decimal`},
		{"acceptors 1,2,3", "acceptors ", `acceptors "": want ServerIDs in decimal`},
		{"acceptors 1,2,3", "acceptors -", `acceptors "-": want ServerIDs in decimal`},
		{"acceptors 1,2,3", "acceptors 1, 2,3", `want ServerIDs in decimal`},
		{"acceptors 1,2,3", "acceptors 01,2,3", "is not what a server writes at byte 39"},
		{"acceptors 1,2,3", "acceptors 2,1,3", "Configuration.Members.Acceptors: server 1 after 2"},
		{"acceptors 1,2,3", "acceptors 1,2", "Configuration.Members.Quorum: majority(3) counts 3 acceptors"},
		{"acceptors 1,2,3", "acceptors 1" + strings.Repeat(",2", 64), `65 servers: want at most 64`},
		{"learners 8,9", "learners 8" + strings.Repeat(",2", 1024), `1025 servers: want at most 1024`},
		{"learners 8,9", "learners 3,8", "Configuration.Members.Learners: server 3 is an acceptor too"},
		{"learners 8,9", "learners ", `learners "": want ServerIDs`},
		{"quorum majority(3)", "quorum all", "paxos: quorum \"all\": only majority(N)"},
		{"quorum majority(3)", "quorum flexible(3,1,1)", "do not meet"},
		{"address 1 a\n", "address 2 a\naddress 1 a\n", "is not what a server writes at byte 85"},
		{"address 1 a\n", "address 1 b\naddress 1 a\n", "is not what a server writes"},
		{"address 1 a", "address 1", "Configuration.Members.Addresses: address of server 1 has 0 bytes"},
		{"address 1 a", "address 01 a", "is not what a server writes"},
		{"address 1 a", "address x a", "Configuration.Members.Addresses: server 0 is neither"},
		{"address 1 a", "address 4 a", "Configuration.Members.Addresses: server 4 is neither"},
		{"address 1 a", "adress 1 a", `want a line that begins with "before " in place of "adress 1 a"`},
		{"before a1", "before 0", "Configuration.Before: 0 in configuration 3: want the fingerprint of configuration 2"},
		{"before a1", "before A1", "is not what a server writes"},
		{"before a1", "before 0a1", "is not what a server writes"},
		{"before a1", "before g", `before "g": want a number of base 16`},
		{"before a1\n", "before a1\n\n", "is not what a server writes"},
		{"before a1\n", "before a1\r\n", "want a number of base 16"},
		{"\n", "\r\n", `format version "1\r"`},
	} {
		text := strings.Replace(good, tt.old, tt.new, 1)
		require.NotEqual(t, good, text)
		c, err := ParseConfiguration(text)
		assert.ErrorContains(t, err, "paxos: configuration: ")
		assert.ErrorContains(t, err, tt.want, "%q for %q", tt.new, tt.old)
		assert.Zero(t, c)
	}
}

// TestConfigurationFingerprint holds numbers that are part of the wire format, and of every Before.
func TestConfigurationFingerprint(t *testing.T) {
	m := Members{Cluster: "cluster", Acceptors: []ServerID{1, 2, 3}}
	assert.Equal(t, m.Fingerprint(), Configuration{Members: m}.Fingerprint(), "a server of a version before knows only this one")
	c := Configuration{Number: 1, Members: m, Before: 5}
	assert.EqualValues(t, uint64(0x6fa0d72dbcacee55), c.Fingerprint())
	assert.Equal(t, fingerprint(`configuration 1, cluster "cluster", acceptors 1,2,3 majority(3)`), c.Fingerprint())
	same := c
	same.Members.Learners, same.Members.Addresses, same.Before = []ServerID{4}, map[ServerID]string{1: "a"}, 6
	assert.Equal(t, c.Fingerprint(), same.Fingerprint())
	other := c
	other.Number = 2
	assert.NotEqual(t, c.Fingerprint(), other.Fingerprint())
	other = c
	other.Members.Acceptors = upTo(2)
	assert.NotEqual(t, c.Fingerprint(), other.Fingerprint())
}

func TestConfigurationNext(t *testing.T) {
	first := Configuration{Members: Members{Cluster: "c", Acceptors: upTo(3)}}
	m := Members{Cluster: "c", Acceptors: []ServerID{1, 2, 4}, Learners: []ServerID{3}, Addresses: map[ServerID]string{4: "a"}}
	next, err := first.Next(m)
	require.NoError(t, err)
	assert.Equal(t, Configuration{1, m.Clone(), first.Fingerprint()}, next)
	assert.Equal(t, "$config/1", next.Name())
	again, err := next.Next(first.Members)
	require.NoError(t, err)
	assert.Equal(t, Configuration{2, first.Members.Clone(), next.Fingerprint()}, again)
	m.Acceptors[0], m.Addresses[4] = 77, "b"
	assert.Equal(t, []ServerID{1, 2, 4}, next.Members.Acceptors, "it keeps no part")
	assert.Equal(t, "a", next.Members.Addresses[4], "it keeps no part")

	own := Members{Cluster: "c", Acceptors: upTo(3), Quorum: threeOf{"all"}}
	liar := Members{Cluster: "c", Acceptors: upTo(3), Quorum: threeOf{"majority(3)"}}
	many := Members{Cluster: "c", Acceptors: upTo(64)}
	for _, tt := range []struct {
		c    Configuration
		m    Members
		want string
	}{
		{first, Members{Cluster: "c"}, "Members.Acceptors: 0 servers"},
		{first, Members{Cluster: "d", Acceptors: upTo(3)}, `Members.Cluster: "d", the cluster is "c": it never changes`},
		{first, own, `Members.Quorum: it can't change, nor be changed to, while servers run: paxos: quorum "all"`},
		{first, liar, "Members.Quorum: majority(3) of type paxos.threeOf only has the words"},
		{Configuration{Members: own}, first.Members, `Members.Quorum: it can't change`},
		{Configuration{Members: liar}, first.Members, "Members.Quorum: majority(3) of type paxos.threeOf"},
		{Configuration{Members: many}, Members{Cluster: "c", Acceptors: []ServerID{65}}, "Members.Acceptors: 65 servers with those before: want at most 64"},
		{Configuration{Number: MaxConfiguration, Members: first.Members, Before: 1}, m, "Configuration.Number: 65534 is the last"},
	} {
		next, err := tt.c.Next(tt.m)
		assert.ErrorContains(t, err, tt.want)
		assert.Zero(t, next)
	}
	_, err = Configuration{Members: many}.Next(Members{Cluster: "c", Acceptors: []ServerID{64}})
	assert.NoError(t, err)
	_, err = Configuration{Number: MaxConfiguration - 1, Members: first.Members, Before: 1}.Next(first.Members)
	assert.NoError(t, err)
}

func TestConfigurationNames(t *testing.T) {
	for _, n := range []uint64{1, 9, 10, 65533, MaxConfiguration} {
		name := ConfigurationName(n)
		got, ok := ConfigurationNumber(name)
		assert.True(t, ok, name)
		assert.Equal(t, n, got)
		assert.NoError(t, CheckName(name))
		assert.ErrorIs(t, CheckInstance(name), ErrName, "no call can use it")
		assert.True(t, isInternal(name))
	}
	all := []string{"", "$", "$c", "$config", "$config/", "$config/0", "$config/01", "$config/-1", "$config/+1", "$config/1 ", "$config/1/", "$config/65535",
		"$config/18446744073709551616", "$config/x", "$configs/1", "config/1", "$1/config", "$Config/1", ConfigurationName(0)}
	for _, name := range all {
		_, ok := ConfigurationNumber(name)
		assert.False(t, ok, "%q", name)
	}
	all = append(all, ConfigurationName(77))
	sum := uint64(0)
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		for _, name := range all {
			n, _ := ConfigurationNumber(name)
			sum += n
		}
	}))
	assert.Equal(t, uint64(101*77), sum, "the first run warms up")
}

// FuzzConfigurationText checks that a text is refused, or is that of the Configuration that was read, in bounded memory.
func FuzzConfigurationText(f *testing.F) {
	f.Add(goldenConfiguration().String())
	f.Add(Configuration{Members: Members{Cluster: "c", Acceptors: upTo(5)}}.String())
	for _, words := range []string{"flexible(3,3,1)", "weighted(1,0,3)", "grid(1,3)", "majority(2)", "weighted()"} {
		f.Add("version 1\nnumber 1\ncluster c\nacceptors 1,2,3\nlearners -\nquorum " + words + "\nbefore 1\n")
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseConfiguration(text)
		if err != nil {
			require.Zero(t, c)
			return
		}
		require.NoError(t, c.Check())
		require.Equal(t, text, c.String())
		next, err := c.Next(c.Members)
		if c.Number == MaxConfiguration {
			require.Error(t, err)
			return
		}
		require.NoError(t, err)
		again, err := ParseConfiguration(next.String())
		require.NoError(t, err)
		require.Equal(t, next, again)
	})
}

func TestParseQuorum(t *testing.T) {
	all := make([]string, 64)
	for i := range all {
		all[i] = "65535"
	}
	for _, words := range []string{"majority(1)", "majority(64)", "flexible(3,3,1)", "flexible(64,33,32)", "weighted(1)", "weighted(0,0,7)",
		"weighted(" + strings.Join(all, ",") + ")", "grid(1,1)", "grid(8,8)", "grid(1,64)"} {
		q, err := ParseQuorum(words)
		require.NoError(t, err, words)
		assert.Equal(t, words, q.String())
		assert.NoError(t, CheckQuorum(q))
	}
	q, err := ParseQuorum("weighted(2,1,1)")
	require.NoError(t, err)
	same, err := Weighted([]int{2, 1, 1})
	require.NoError(t, err)
	assert.True(t, q == same, "quorums are compared by ==")
	joint, err := Joint(Majority(1), 1, Majority(1), 1, 0)
	require.NoError(t, err)
	for _, words := range []string{"", "all", "majority", "majority(", "majority()", "majority(3", "majority(3))", "majority(03)", "majority(+3)", "majority( 3)",
		" majority(3)", "majority(3) ", "majority(3,3)", "Majority(3)", "majority(x)", "majority(99999)", "flexible(3,2)", "flexible(3,2,2,2)", "grid(2)", "grid(2,2,1)",
		"weighted", "weighted()", "weighted(1,)", "weighted(,1)", "weighted(65536)", "weighted(1" + strings.Repeat(",1", 64) + ")", "threeOf(3)", joint.String(),
		"weighted(" + strings.Repeat(",", 1<<20)} {
		q, err := ParseQuorum(words)
		assert.ErrorContains(t, err, "only majority(N), flexible(N,PHASE1,PHASE2), weighted(N,N,…) and grid(ROWS,COLUMNS) can be read", "%.40q", words)
		assert.Less(t, len(fmt.Sprint(err)), 800)
		assert.Nil(t, q)
	}
	for words, want := range map[string]string{"majority(0)": "0 acceptors: want 1 to 64", "majority(65)": "65 acceptors", "flexible(3,1,2)": "do not meet",
		"flexible(3,0,3)": "each phase needs", "weighted(0,0)": "all weights are zero", "grid(0,3)": "want at least 1", "grid(9,8)": "72 acceptors"} {
		q, err := ParseQuorum(words)
		assert.ErrorContains(t, err, want, words)
		assert.Nil(t, q)
	}
}
