// Package wal is durable storage for one server (S3 in docs/source.md): a log in a directory of its own. The log keeps what was saved
// over any crash. It finds damage, and refuses to drop damaged data.
//
//	err := wal.Create(dir, 1, members)              // once in the life of server 1
//	log, err := wal.Open(dir, wal.Options{})        // at every start
//	n, err := node.Start(ctx, node.Config{Storage: log, …})
//	…
//	n.Close(); log.Close()
//
// # How it works
//
// The log is a row of files, its segments. A Save appends one batch to the last segment in use, with one write and one fdatasync. On
// linux, sync_file_range starts the transfer to the disk before that. Segments are filled with zeros in the background, before they are
// needed. So a Save changes data only, and no metadata.
//
// Where batches are long, from a mean of 128 KiB, the next segment is reserved by fallocate instead, on linux. So each byte is written once.
// A long batch goes around the page cache (O_DIRECT), but for the pages at its ends. Where a file system offers neither, all is as above.
//
// An index in memory knows where the latest record of each instance lies. It takes about 100 bytes for each instance; the values stay on
// disk. Most decisions are for the value that the server voted for: such a decision does not write the value again.
//
// A record is garbage once a later one has replaced it. Compaction writes segments anew without garbage, in the background: when no Save
// comes, or when there is too much garbage. A closed segment gets a hint, which lists what lives in it. Open reads the hint in place of
// the segment.
//
// # What it notices
//
// The checksum of a batch covers where the batch belongs: its storage, segment, offset, and place in the order of all batches. A batch
// also says that all batches before it were durable when it was written. So an unreadable batch is damage if anything later can be read.
//
// Otherwise it is the last batch: it was being written when power was lost, and no caller was told that it is saved. Open drops that
// batch as a whole.
//
// A seal, in the head of the segment, says that the last batch, too, is durable. The log writes one when no Save follows within 5 ms, and
// at Close. Under load, a seal goes with a Save after 64 batches or 20 ms. So few batches are ever without proof that they were durable.
//
// The file SEAL repeats this outside the segments: after a rest, at Close, and under load at least each second. No Save waits for it. It
// reveals a segment that was put back to an earlier time.
//
// Damage is a [*CorruptionError], which names file and offset. The log skips nothing and repairs nothing.
//
// After the first write or fsync that fails, the Log is dead: see [Log.Save]. Some of what Open finds may have been in memory only: it
// lies after the last point that is known to be durable. Open writes and syncs that again before any caller sees it.
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
// Save calls fdatasync on linux, F_FULLFSYNC on darwin, and FlushFileBuffers on windows. Nothing weaker survives the loss of power on the
// last two.
//
// Directories can't be synced on windows. There the log assumes that NTFS keeps the order of renames. Some systems (solaris, aix) can't
// lock files: there Open works with [Options.ReadOnly] only.
package wal
