package paxos

import (
	"fmt"
	"strconv"
	"strings"
)

// Some instances have an owner, and their names say who it is:
//
//	$SERVER/NAME              made by Owned
//	$SERVER.BOOT.COUNT/NAME   made by Mint: the COUNT-th name that the server minted in its BOOT-th start
//
// The numbers are decimal, not zero, and have no leading zeros, so a name has one spelling. All other names that begin
// with "$" stay reserved.
//
// The owner may use round 0 of its instance: Ballot{0, owner}. Acceptors refuse that round from anyone else, so it is the
// lowest ballot that the instance can have, and phase 1, which asks what was accepted below, has nothing to ask: the owner
// begins with the Accept, and its value is chosen after one round trip. In every other respect it is a ballot like any
// other, and whoever comes with a higher one, the owner included, begins with a Prepare.
//
// What phase 1 does besides is to make sure that one ballot never has two values, as no ballot is prepared twice. In its
// place stand the rules of ownsRound and of beginOwned.

// Owned returns the name of the instance that server owns under the given name: where it proposes first, a decision takes
// one round trip instead of two, with a Save at the owner before it and one at the acceptors within. The name means the
// same on every server and for ever, and anyone may use it in every call: for all but its owner it is an instance like any
// other, and so it is for the owner when another server came first, after a restart in the middle of an attempt, and if
// it does not vote. Whose instance it is gives no one the right to win it.
//
// A call refuses the result if it is too long, see MaxName, if name is empty or not valid, or if server is 0. Every server
// of the cluster must know of owned instances: one of a version before them votes only in the rounds that follow, and
// stops to fetch the decisions that it missed at the first such name.
func Owned(server ServerID, name string) string {
	return "$" + strconv.FormatUint(uint64(server), 10) + "/" + name
}

// mintedName returns the name that Minted makes.
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

// An Owner is what the name of an owned instance says: whose it is. See [Owned].
type Owner struct {
	Server ServerID
	Boot   uint64 // which start of Server minted the name; 0: Owned made it
}

// OwnerOf reads the name of an instance. ok is false if it names no owner.
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

// OwnsRound reports whether b is the ballot of round 0 that the owner of that instance may use.
func OwnsRound(b Ballot, instance string) bool {
	o, ok := OwnerOf(instance)
	return ok && b == Ballot{0, o.Server}
}

// cutPoint is cutNumber after a point.
func cutPoint(s string) (n uint64, rest string, ok bool) {
	if !strings.HasPrefix(s, ".") {
		return 0, "", false
	}
	return cutNumber(s[1:])
}

// cutNumber cuts a number off the front of s: decimal, above 0, without leading zeros.
func cutNumber(s string) (n uint64, rest string, ok bool) {
	end := 0
	for end < len(s) && s[end] >= '0' && s[end] <= '9' {
		end++
	}
	if end == 0 || s[0] == '0' {
		return 0, "", false
	}
	n, err := strconv.ParseUint(s[:end], 10, 64)
	return n, s[end:], err == nil
}

// Minted returns the count-th name that a server mints in one of its starts, boot: see Node.Mint. name is its end, and may be empty.
// The error is ErrName if no call would take the result: it is too long, or name is not valid UTF-8 or has control characters.
func Minted(server ServerID, boot, count uint64, name string) (string, error) {
	minted := mintedName(server, boot, count, name)
	if err := CheckName(minted); err != nil {
		return "", fmt.Errorf("minted %w", err)
	}
	return minted, nil
}

// CheckInstance is CheckName for the name of an instance that a call may use: it refuses reserved names, too.
func CheckInstance(name string) error {
	if len(name) > 0 && name[0] == '$' {
		if _, ok := OwnerOf(name); !ok {
			return nameError(fmt.Sprintf("name %q begins with $, which is reserved", name))
		}
	}
	return CheckName(name)
}
