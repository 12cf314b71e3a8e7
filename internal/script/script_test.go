package script

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/paxostest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stormy is a script with something of everything.
const stormy = `# crashes, losses, duels
servers 5 learners 1
drop 1->* prepare #2
repeat promise 7ms
delay 2->* accept 30ms
hold 3->5 accept
propose 1 lunch "burger"
propose 2 lunch "pizza"
propose 3 dinner "soup"
save-time 4 25ms
run 33ms
crash 4
cut 1 5
cut 2->3
run 40ms
restart 4
pause 5
wait 6 lunch
run 300ms
resume 5
heal
clear
release 3->5
propose 4 lunch "kimbap"
run
`

// TestSameScriptSameRun holds a script to the very same run, diagram and all, however often it is played.
func TestSameScriptSameRun(t *testing.T) {
	first, err := Play(stormy)
	require.NoError(t, err)
	for range 5 {
		again, err := Play(first)
		require.NoError(t, err)
		require.Equal(t, first, again)
	}
	assert.Contains(t, first, "6: wait @lunch", "what happened stands in it")
	assert.Contains(t, first, "2: returns")
	assert.Contains(t, first, "4: returns")
}

func TestPlaySaysWhatIsWrong(t *testing.T) {
	for script, want := range map[string]string{
		"jump":                                               "line 1: jump: there are no servers yet",
		"servers 3\njump":                                    `"jump" is no command`,
		"servers three":                                      "invalid syntax",
		"servers 3 cheese":                                   `"cheese" is no setting`,
		"servers 3\ncrash 9":                                 "there is no server 9",
		"servers 3\ncrash 1\ncrash 1":                        "server 1 is down already",
		"servers 3\nrestart 1":                               "server 1 is up already",
		"servers 3\ncrash-saved 1":                           "runs no Save",
		"servers 3\ndrop":                                    "messages are missing",
		"servers 3\ndrop accept often":                       "too much: often",
		"servers 3\nrelease accept":                          "no held message fits accept",
		"servers 3\nreplay 1->2 accept":                      "no message that was sent fits 1->2 accept",
		"servers 3\npropose 1 lunch x":                       "a value is in quotes",
		`servers 3` + "\n" + `propose 1 lunch "x`:            "bad quotes",
		"servers 3\nrun fast":                                "invalid duration",
		"servers 3\ninject 1 -> 2: nonsense":                 "want a kind first",
		"servers 3\ninject 1 2":                              "want ->",
		"servers 3\nuntil sent accept":                       "never came to this: sent accept",
		"servers 3\nuntil later":                             "want sent, arrived, saving or ended",
		"servers 3\ncancel 1":                                "there is no call 1",
		"servers 3\nexpect sent 1 accept":                    "it is 0",
		"servers 3\nexpect faults 1":                         "it is 0",
		"servers 3\nexpect luck":                             "want call, sent, arrived, disk or faults",
		"servers 3\nexpect disk 1 lunch \"promised 1.1\"":    "it is nothing",
		"servers 3\nwait 1 x\nexpect call 1 returns \"x\"":   "it is false",
		"servers 3\nwait 1 x\nexpect call 1 fails \"x\"":     "still waits",
		"servers 3\npropose 1 $x \"x\"\nexpect call 1 waits": "it is true",
		"servers 3\ncrash 1\npropose 1 x \"x\"":              "server 1 is down: it takes no call",
		"acceptor a sings":                                   "want gets",
		"proposer p sings":                                   "want BALLOT VALUE of N",
		"proposer p 1.1 \"x\" in 3":                          "want of",
		"learner l sings":                                    "want of N",
		"compare 1.1":                                        "something is missing",
		"compare 1.1 1.one":                                  "want ROUND.SERVER",
	} {
		_, err := Play(script)
		assert.ErrorContains(t, err, want, "%s", script)
	}
}

// TestPlayKeepsCommentsAndReplacesWhatHappened: only what a script does not say itself is rewritten.
func TestPlayKeepsCommentsAndReplacesWhatHappened(t *testing.T) {
	played, err := Play("# why\n\nservers 1\n    old news\npropose 1 x \"v\"\n    older news\nrun\n")
	require.NoError(t, err)
	assert.True(t, strings.HasPrefix(played, "# why\n\nservers 1\npropose 1 x \"v\"\n          0  1: propose \"v\" @x\n"), "%s", played)
	assert.NotContains(t, played, "news")
}

func TestMatchText(t *testing.T) {
	for text, m := range map[string]paxostest.Match{
		"all":                       {},
		"1->3 accept 1.1 @lunch #2": {From: 1, To: 3, Kind: paxos.KindAccept, Ballot: paxos.Ballot{Round: 1, Server: 1}, Instance: "lunch", Nth: 2},
		"*->3":                      {To: 3},
		"1->* promise":              {From: 1, Kind: paxos.KindPromise},
		"#4":                        {Nth: 4},
	} {
		assert.Equal(t, text, m.String())
		a, err := split(text)
		require.NoError(t, err)
		assert.Equal(t, m, a.match())
		assert.NoError(t, a.end())
	}
}
