// Package limits holds every bound on the size and the count of what the
// project reads. A parser checks the bound that stands here before it
// allocates, so that hostile input costs no more than its own length.
//
// All sizes are bytes unless the comment says otherwise, and every bound is
// inclusive: a value equal to the constant is accepted, one more is refused.
package limits

import "github.com/sworn-run/sworn/attest"

// The capsule and the JSON it is made of.
const (
	// CapsuleFile is the largest capsule file, and the largest JSON text of
	// any kind that is parsed: 64 MiB.
	CapsuleFile = 64 << 20

	// SeriesRecords is the largest number of capsules that are held against each
	// other.
	SeriesRecords = 1024

	// SeriesBytes is the largest size of these together, if there are several:
	// 128 MiB. All of them are in memory at once.
	SeriesBytes = 128 << 20

	// CapsuleDepth is how deep arrays and objects may be nested in a capsule,
	// an event, a runtime object or a policy. The outermost object is depth 1.
	CapsuleDepth = 64

	// CapsuleValues is the largest number of commas and colons outside of
	// strings in a capsule, and so of its values but for a few: each costs a
	// reader tens of times its own length. A parameter takes six, and all of them
	// stand in one event; the rest of a genuine capsule has some hundreds.
	CapsuleValues = 65536

	// BundleDepth is how deep arrays and objects may be nested in a NexArt
	// bundle that somebody else made. Their own reference data goes to 503.
	BundleDepth = 1000

	// BundleValues is the largest number of commas and colons outside of strings
	// in such a bundle, a package or a project of them, and in what is brought
	// into canonical form: 1 Mi. A text of 64 MiB
	// could hold thirty times as many, and each costs a reader a hundred bytes.
	BundleValues = 1 << 20

	// JSONNumber is the longest number literal in JSON text, in characters.
	// The longest exact decimal of a double has 767 significant digits.
	JSONNumber = 1100

	// EmbeddedContent is the largest input or output, before any encoding,
	// that a record carries in itself: 16 MiB.
	EmbeddedContent = 16 << 20

	// EmbeddedObject is the largest canonical JSON object that stands as input
	// or output in a record: embedded content in base64, and what describes
	// it. 24 MiB.
	EmbeddedObject = 24 << 20

	// RecordText is the longest single text member of a record's snapshot
	// other than prompt, input and output: identifiers, names, times.
	RecordText = 4096

	// Inclusion is the longest Merkle inclusion path, in 32-byte nodes.
	Inclusion = 64

	// BatchRecords is the largest number of records in one batch, and so of
	// leaves in a tree that is built here.
	BatchRecords = attest.MaxBatch
)

// The statement and the evidence that quotes it.
const (
	// Statement is the largest binding statement.
	Statement = attest.MaxStatement

	// EvidenceSlots is the largest number of evidence slots in a manifest,
	// and of evidence items in a capsule. The smallest is 1.
	EvidenceSlots = attest.MaxSlots

	// EvidencePart is the largest part of an evidence item: a quote, a
	// report, a signature, a blob of runtime data. 1 MiB.
	EvidencePart = 1 << 20

	// EvidenceParts is the largest number of parts in an evidence item.
	EvidenceParts = 64

	// Certificates is the largest number of certificates in one chain or one
	// evidence item.
	Certificates = 16

	// Certificate is the largest DER certificate: 64 KiB.
	Certificate = 64 << 10

	// CollateralItems is the largest number of collateral items in a capsule.
	CollateralItems = 256

	// CollateralItem is the largest collateral item, a revocation list for
	// the most part: 4 MiB.
	CollateralItem = 4 << 20

	// Token is the largest time stamp token: 64 KiB.
	Token = 64 << 10

	// TimeStampReply is the largest reply of a time-stamping authority: a token and a
	// few lines.
	TimeStampReply = Token + 4<<10

	// Tokens is the largest number of time stamp tokens in a capsule: one a year from
	// each of three authorities, for ten years and some.
	Tokens = 32
)

// Log is the largest event log in its carried form: 16 MiB. What it is made of is
// bounded in package attest.
const Log = attest.MaxLog

// What booted: firmware event logs and IMA lists.
const (
	// BootLog is the largest log of what booted, in either format: 16 MiB.
	// Genuine ones take 4 KB to 260 KB, padding included.
	BootLog = 16 << 20

	// BootEvents is the largest number of events in a firmware's log.
	BootEvents = 65536

	// BootAlgs is the largest number of hash algorithms in a firmware's log.
	BootAlgs = 5

	// BootEventData is the largest data of one event there: 1 MiB. A dbx of the
	// full list takes some 24 KB.
	BootEventData = 1 << 20

	// Signatures is the largest number of signatures in one Secure Boot
	// database.
	Signatures = 65536

	// Partitions is the largest number of entries in a partition table.
	Partitions = 1024

	// IMAEntries is the largest number of entries in an IMA list.
	IMAEntries = 1 << 17

	// IMAName is the longest template name in an IMA list, in bytes.
	IMAName = 32

	// BootImage is the largest PE image that is hashed: 512 MiB.
	BootImage = 512 << 20

	// BootSections is the largest number of sections in a PE image.
	BootSections = 96
)

// What opens the commitments of a record.
const (
	// OpeningFile is the largest opening file: 64 MiB.
	OpeningFile = 64 << 20

	// OpeningFields is the largest number of fields in one: the commitments to
	// parameters stand in one event, which has room for some 700.
	OpeningFields = 1024

	// OpeningValues is the largest number of commas and colons outside of strings in
	// one. A parameter takes six, a stream some twenty.
	OpeningValues = 16384

	// ParameterValue is the longest value of a parameter that is committed to: 64 KiB.
	ParameterValue = 64 << 10
)

// What the relying party brings.
const (
	// PolicyFile is the largest policy file: 4 MiB.
	PolicyFile = 4 << 20

	// SigstoreAnswer is the most that is read of what a program says about a
	// signature through Sigstore: 16 KiB.
	SigstoreAnswer = 16 << 10

	// RootsFiles is the largest number of files in a roots folder.
	RootsFiles = 1000

	// RootsFile is the largest file in a roots folder: 1 MiB.
	RootsFile = 1 << 20

	// LedgerFile is the largest text of a distrust ledger: 1 MiB.
	LedgerFile = 1 << 20

	// LedgerSignature is the largest part of a ledger's file after its text: an empty
	// line and one signature.
	LedgerSignature = 512

	// LedgerKey is the longest verifier key of a ledger, as text.
	LedgerKey = 512

	// RecheckRecords is the largest number of files that are judged anew in one run, and of
	// records of an earlier run that it is compared with: 1 Mi.
	RecheckRecords = 1 << 20

	// RecheckLine is the longest line of an earlier run: 4 MiB.
	RecheckLine = 4 << 20

	// RecheckMemory is how much of the records that are judged at the same time is in
	// memory: 256 MiB.
	RecheckMemory = 256 << 20

	// RecheckWorkers is how many records are judged at the same time, at the most.
	RecheckWorkers = 64

	// Ledgers is the largest number of ledgers that are given together.
	Ledgers = 16
)

// Archives of capsules.
const (
	// ArchiveSets is the largest number of sets, of capsules of one statement, in an
	// archive: what 8 digits count.
	ArchiveSets = 99_999_999

	// ArchiveRecords is the largest number of capsules in an archive.
	ArchiveRecords = 1 << 40

	// ArchiveBlobs is the largest number of blobs that several sets share. A reader
	// remembers where each of them is.
	ArchiveBlobs = 1 << 16

	// ArchiveFiles is the largest number of policies, files of roots and ledgers in an
	// archive, together.
	ArchiveFiles = RootsFiles + 64

	// ArchiveFile is the largest of these: 4 MiB.
	ArchiveFile = PolicyFile

	// ArchiveHead is the largest head of an archive: 1 MiB.
	ArchiveHead = 1 << 20

	// ArchiveSet is the largest description of a set: 64 KiB.
	ArchiveSet = 64 << 10

	// ArchiveName is the longest name of a capsule, or of a file beside them.
	ArchiveName = 90

	// ArchiveContent is the least size of an input or output, as a record carries it,
	// that an archive stores once for several records: 4 KiB.
	ArchiveContent = 4 << 10

	// ArchiveLine is the largest line that holds a record: its own bytes, and what
	// stands around them.
	ArchiveLine = CapsuleFile + 8<<10
)
