package paxos

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Some instances have an owner. Their names say which server that is:
//
//	$SERVER/NAME              made by Owned
//	$SERVER.BOOT.COUNT/NAME   made by Mint: the COUNT-th name that the server minted in its BOOT-th start
//
// The numbers are decimal, not zero, and have no leading zeros, so a name has one spelling. All other names that begin
// with "$" stay reserved.
//
// The owner may use round 0 of its instance: Ballot{0, owner}. Acceptors refuse that round from any other server, so it is
// the lowest ballot that the instance can have. Phase 1 asks for votes below a ballot, and here there can be none. So the
// owner begins with the Accept, and its value is chosen after one round trip. In every other respect round 0 is a ballot
// like any other. An attempt with a higher ballot begins with a Prepare, also at the owner.
//
// Phase 1 has a second purpose: one ballot never has two values, because no ballot is prepared twice. In round 0 the rules
// of ownsRound and beginOwned in package replica ensure this instead.

// Owned returns the name of the instance that server owns under the given name. If the owner proposes first, the decision
// takes one round trip instead of two. The owner saves first; the acceptors save during the round trip.
//
// The name means the same on every server and for ever. Any server may use it in every call. For a server that is not the
// owner it is an instance like any other. The same holds for the owner if another server came first, after a restart in the
// middle of an attempt, and if the owner does not vote. An owner has no right to win its instance.
//
// A call refuses the result if it is longer than [MaxName], if name is empty or not valid, or if server is 0.
//
// Every server of the cluster must know of owned instances. A server of an earlier version votes only in the rounds above 0.
// It also stops fetching missed decisions at the first such name.
func Owned(server ServerID, name string) string {
	return "$" + strconv.FormatUint(uint64(server), 10) + "/" + name
}

// mintedName returns the name that Minted returns, unchecked.
func mintedName(server ServerID, boot, count uint64, name string) string {
	var buf [3*20 + 4 + MaxName]byte // on the stack
	b := append(buf[:0], '$')
	b = strconv.AppendUint(b, uint64(server), 10)
	b = append(b, '.')
	b = strconv.AppendUint(b, boot, 10)
	b = append(b, '.')
	b = strconv.AppendUint(b, count, 10)
	b = append(b, '/')
	return string(append(b, name...))
}

// An Owner is the owner that the name of an instance gives: see [Owned].
type Owner struct {
	Server ServerID
	Boot   uint64 // the start of Server that minted the name; 0: Owned made it
}

// OwnerOf returns the owner that the name of an instance gives. ok is false if it gives none.
func OwnerOf(name string) (o Owner, ok bool) {
	if len(name) == 0 || name[0] != '$' {
		return Owner{}, false
	}
	server, rest, ok := cutNumber(name[1:])
	if !ok || rest == "" || rest == "/" {
		return Owner{}, false
	}
	if rest[0] == '/' {
		return Owner{ServerID(server), 0}, true
	}
	boot, rest, ok1 := cutPoint(rest)
	_, rest, ok2 := cutPoint(rest)
	if !ok1 || !ok2 || !strings.HasPrefix(rest, "/") {
		return Owner{}, false
	}
	return Owner{ServerID(server), boot}, true
}

// OwnsRound reports whether b is the ballot of round 0 of the owner of that instance.
func OwnsRound(b Ballot, instance string) bool {
	o, ok := OwnerOf(instance)
	return ok && b == Ballot{0, o.Server}
}

// cutPoint cuts a point and a number off the front of s: see cutNumber.
func cutPoint(s string) (n uint64, rest string, ok bool) {
	if !strings.HasPrefix(s, ".") {
		return 0, "", false
	}
	return cutNumber(s[1:])
}

// cutNumber cuts a number off the front of s: decimal, above 0, without leading zeros, of 64 bits at most. Every message of an
// owned instance passes here, so it reads s once.
func cutNumber(s string) (n uint64, rest string, ok bool) {
	end := 0
	for ; end < len(s) && s[end]-'0' <= 9; end++ {
		digit := uint64(s[end] - '0')
		if n > (math.MaxUint64-digit)/10 {
			return 0, "", false
		}
		n = 10*n + digit
	}
	if end == 0 || s[0] == '0' {
		return 0, "", false
	}
	return n, s[end:], true
}

// Minted returns the count-th name that a server mints in its start number boot: see Node.Mint of package node. name is the end
// of the result, and may be empty. The error is [ErrName] if no call would take the result: it is too long, or name is not
// valid UTF-8 or has control characters.
func Minted(server ServerID, boot, count uint64, name string) (string, error) {
	minted := mintedName(server, boot, count, name)
	if err := CheckName(minted); err != nil {
		return "", fmt.Errorf("minted %w", err)
	}
	return minted, nil
}

// CheckInstance is [CheckName] for the name of an instance that a call may use. It also refuses reserved names.
func CheckInstance(name string) error {
	if len(name) > 0 && name[0] == '$' {
		if _, ok := OwnerOf(name); !ok {
			return nameError(fmt.Sprintf("name %q begins with $, which is reserved", name))
		}
	}
	return CheckName(name)
}
