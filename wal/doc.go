// Package wal is durable storage (S3): a log in a directory of its own, which keeps what was saved over any crash, and
// notices damage instead of losing what it hit.
//
//	err := wal.Create(dir, 1, members)              // once in the life of server 1
//	log, err := wal.Open(dir, wal.Options{})        // at every start
//	node, err := paxos.Start(ctx, paxos.Config{Storage: log, …})
//	…
//	node.Close(); log.Close()
//
// # How it works
//
// A Save appends one batch to the last of a row of segments, with one write and one fdatasync; on linux, sync_file_range has
// the disk begin before. Segments are filled with zeros before they are needed, in the background, so that a Save changes
// nothing but data. An index in memory, about 100 bytes for each instance, knows where the latest record of each instance lies;
// the values stay on disk. A decision for the value that the server voted for, as most are, does not write it again. What later
// records have replaced is garbage: in the background, when it is quiet or there is too much, segments are written anew without
// it. A closed segment gets a hint, a list of what lives in it, so that Open need not read it.
//
// # What it notices
//
// Each batch says in its checksum where it belongs: which storage, segment, offset and place in the order of all batches, and
// that all before it was durable when it was written. So a batch that can't be read is damage if anything later can be, and
// else the last one, which was being written when power was lost, and which nobody was told of. That goes, whole. When no
// Save follows within 5 ms, and at Close, a seal in the head of the segment says that the last batch, too, is durable. Under load a seal
// goes with a Save after 64 batches or 20 ms, so that what is not proven to have been durable stays that little. The file SEAL
// says the same beside all segments, after a rest, at Close and at least each second, without a Save that waits for it: a
// segment that was put back to an earlier time is found out by that. Damage
// is a *CorruptionError, which names file and offset; nothing is skipped or repaired.
//
// After the first write or fsync that fails the Log is dead: see Save. What Open finds after the last point that is known to be durable
// it writes and syncs again before anybody sees it: it may have been in memory only.
//
// # Files
//
//	MANIFEST               whose storage it is, and which segments there are: text, replaced as a whole
//	SEAL                   up to where the log was durable
//	0000000000000007.wal   a segment; one made before version 3 ends in .log
//	0000000000000007.hint  what lives in it
//	RESCUE                 the last batch, while Open writes it again
//	LOCK                   which process has the directory open; locked meanwhile, like the directory itself
//	*.tmp                  not ready; Open removes what a crash left of them. CREATE.tmp says that Create has not finished
//
// docs/format.md draws them. Numbers are little-endian; checksums are CRC-32C.
//
// # Platforms
//
// On linux, Save calls fdatasync; on darwin F_FULLFSYNC, and on windows FlushFileBuffers, since there is nothing less that
// survives the loss of power. On windows directories can't be synced: that NTFS keeps its order of renames is an
// assumption. Where files can't be locked (solaris, aix), Open refuses, unless the log is to be ReadOnly.
package wal
