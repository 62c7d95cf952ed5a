package verifier

import "github.com/sworn-run/sworn/attest"

// Class says what a check means for the verdict.
type Class uint8

// The classes of checks.
const (
	// ClassCore: must pass, whatever the policy says.
	ClassCore Class = iota + 1
	// ClassRequired: must pass, unless the policy waives it by id with a
	// reason.
	ClassRequired
	// ClassInfo: informs.
	ClassInfo
)

// String returns the class as reports spell it.
func (c Class) String() string {
	switch c {
	case ClassCore:
		return "core"
	case ClassRequired:
		return "required"
	case ClassInfo:
		return "info"
	default:
		return "unknown"
	}
}

// definition is one row of the table of checks.
type definition struct {
	id    string
	class Class
	spec  string
	// passes says when the check passes, for reports.
	passes string
	// slot runs a check of each slot of the manifest; run any other.
	slot func(*appraisal, int) outcome
	run  func(*appraisal) outcome
	// asked reports whether the check concerns this verdict at all; nil means
	// always.
	asked func(*appraisal) bool
}

// outcome is what a check found.
type outcome struct {
	attest.Finding
	// want and got are for reports; either may be empty.
	want, got string
}

func passed(detail string) outcome {
	return outcome{Finding: attest.Finding{Status: attest.Passed, Detail: detail}}
}

func failed(detail string) outcome {
	return outcome{Finding: attest.Finding{Status: attest.Failed, Detail: detail}}
}

func unknown(detail string) outcome {
	return outcome{Finding: attest.Finding{Status: attest.NotEstablished, Detail: detail}}
}

func notApplicable(detail string) outcome {
	return outcome{Finding: attest.Finding{Status: attest.NotApplicable, Detail: detail}}
}

// with adds what was wanted and what was got.
func (o outcome) with(want, got string) outcome {
	o.want, o.got = want, got
	return o
}

// definitions returns the checks in their order. The list is the same for every
// evidence format (SPEC, section 8).
func definitions() []definition {
	core, required, info := ClassCore, ClassRequired, ClassInfo
	return []definition{
		{id: "capsule.strict", class: core, spec: "SPEC 7", run: checkCapsule, passes: "the file is strict JSON in RFC 8785 form, its member set closed, within all limits"},
		{id: "cer.canonical", class: core, spec: "SPEC 6", run: checkCanonical, passes: "the record has its five members and is its own RFC 8785 form"},
		{id: "cer.hash", class: core, spec: "SPEC 6", run: checkHash, passes: "certificate, input and output hashes are those of the bytes"},
		{id: "cer.runtime", class: core, spec: "SPEC 6", run: checkRuntime, passes: "snapshot.runtime is version 1 or 2 without unknown members"},
		{id: "statement.form", class: core, spec: "SPEC 4", run: checkStatement, passes: "the statement parses exactly and keeps the rules of its type"},
		{id: "statement.record", class: core, spec: "SPEC 4", run: checkRecordFits, passes: "series, launch, key and number of the record are the statement's"},
		{id: "statement.inclusion", class: core, spec: "SPEC 4, RFC 6962 2.1.1", run: checkInclusion, passes: "the record is the leaf at that index of the statement's tree"},
		{id: "statement.signature", class: core, spec: "SPEC 4", run: checkStatementSignature, passes: "the launch key in the log signed the statement"},
		{id: "evidence.set", class: core, spec: "SPEC 4", run: checkEvidenceSet, passes: "evidence is what the manifest announced, one to one, and nothing is unused"},
		{id: "signer.signature", class: core, spec: "SPEC 7.1", run: checkSignerSignature, passes: "every signature of an operator or countersigner that is carried is by its key, over this record"},
		{id: "boot.log", class: core, spec: "SPEC 5", run: checkBootLog, passes: "the logs of what booted are those that the launch named, they parse exactly, and the quote confirms all of the kernel's list"},
		{id: "slot.policy", class: core, spec: "SPEC 9", slot: checkSlotPolicy, passes: "the policy allows this set of formats and says whose keys may sign"},
		{id: "slot.form", class: core, spec: "SPEC 3", slot: checkSlotForm, passes: "the evidence parses exactly"},
		{id: "slot.binding", class: core, spec: "SPEC 4", slot: checkSlotBinding, passes: "the quote covers this statement for this slot, by the format's one mode and the manifest's key, and the statement's counter is certified for it"},
		{id: "slot.signature", class: core, spec: "SPEC 3", slot: checkSlotSignature, passes: "the quote's signature verifies over the bytes received"},
		{id: "slot.identity", class: required, spec: "SPEC 9", slot: checkSlotIdentity, passes: "the quoting key chains to a root the policy names"},
		{id: "slot.revocation", class: required, spec: "RFC 5280 5", slot: checkSlotRevocation, passes: "no revocation list that the issuers publish names a certificate of the chain"},
		{id: "slot.tcb", class: required, spec: "SPEC 3", slot: checkSlotTCB, passes: "the platform's trusted computing base is current"},
		{id: "slot.mode", class: core, spec: "SPEC 3", slot: checkSlotMode, passes: "neither debug nor migratable nor unsigned: a TPM's key is restricted and cannot leave it, a TEE's attributes are those wanted"},
		{id: "slot.counters", class: required, spec: "TPM 2.0 Part 2, 10.11", slot: checkSlotCounters, passes: "reset and restart counts and firmware are those of the log's origin, also where a counter was certified, the clock has not gone back"},
		{id: "slot.measurement", class: required, spec: "SPEC 9", slot: checkSlotMeasurement, passes: "what booted or was launched matches the policy's reference values"},
		{id: "log.origin", class: required, spec: "SPEC 5", run: checkLogOrigin, passes: "the register was zero when the log began"},
		{id: "log.replay", class: core, spec: "SPEC 5", run: checkLogReplay, passes: "the whole log replays to the quoted register, and the statement names the log before its own commit"},
		{id: "log.launch", class: core, spec: "SPEC 5", run: checkLogLaunch, passes: "the log keeps its grammar and its last segment is this launch, with the key before the separator"},
		{id: "log.commit", class: core, spec: "SPEC 5", run: checkLogCommit, passes: "the log's last event commits this statement, and for a run nothing else was committed"},
		{id: "log.sole", class: required, spec: "SPEC 5", run: checkLogSole, passes: "earlier launches in the register are complete, disclosed and allowed, and no job could extend it"},
		{id: "log.anchor", class: info, spec: "SPEC 5", run: checkLogAnchor, passes: "a register anchors the log"},
		{id: "launcher.rooted", class: required, spec: "SPEC 8", run: checkLauncherRooted, passes: "a measured boot covers the launcher"},
		{id: "launcher.exclusive", class: required, spec: "SPEC 8", run: checkLauncherExclusive, passes: "the job could not quote, extend or trace"},
		{id: "components.match", class: required, spec: "SPEC 9", run: checkComponentsMatch, passes: "each component the policy lists was measured once, in its place, with one of its digests or values"},
		{id: "components.closed", class: required, spec: "SPEC 8", run: checkComponentsClosed, passes: "the job's root held the measured files and nothing else, and the policy lists each"},
		{id: "model.signature", class: required, spec: "SPEC 8", run: checkModelSignature, asked: askedModelSignature, passes: "a key that is trusted for models signed a manifest of exactly the weights that were measured"},
		{id: "signer.match", class: required, spec: "SPEC 9.7", run: checkSignerMatch, asked: askedSigner, passes: "whoever the policy wants signed the record, in the role that it wants"},
		{id: "protection.storage", class: required, spec: "SPEC 8", run: checkProtectionStorage, passes: "the job could read no bytes but the measured ones"},
		{id: "protection.memory", class: required, spec: "SPEC 8", run: checkProtectionMemory, passes: "memory cannot leave by swap, hibernation or dump"},
		{id: "compute.inside", class: required, spec: "SPEC 8", run: checkComputeInside, passes: "the job had no device and no network beyond what the policy allows"},
		{id: "composite.same-machine", class: required, spec: "SPEC 4", run: checkSameMachine, passes: "all slots speak of one machine"},
		{id: "runtime.claims", class: core, spec: "SPEC 6", run: checkRuntimeClaims, passes: "every claim of the record is one of the log or the statement"},
		{id: "nonce.quote", class: required, spec: "SPEC 4", run: checkNonceQuote, asked: askedNonceQuote, passes: "the relying party's nonce is in the statement"},
		{id: "nonce.execution", class: required, spec: "SPEC 5", run: checkNonceExecution, asked: askedNonceExecution, passes: "the relying party's nonce is in the record and before the separator"},
		{id: "series.order", class: required, spec: "SPEC 8", run: checkSeriesOrder, asked: askedSeries, passes: "the records given are of one TPM, each has a number of its launch counter of its own, and the TPM's clock and reset counts rise with it"},
		{id: "series.complete", class: required, spec: "SPEC 8", run: checkSeriesComplete, asked: askedSeries, passes: "no number of the launch counter is missing between the first and the last of the records given"},
		{id: "time.token", class: required, spec: "RFC 3161", run: checkTimeToken, asked: askedTime, passes: "a time-stamping authority that is trusted stamped the evidence digest, and no token covers anything else"},
		{id: "time.order", class: required, spec: "RFC 3161", run: checkTimeOrder, asked: askedTime, passes: "the claimed time is not after the time stamp, and later tokens are of later times"},
		{id: "collateral.coherent", class: required, spec: "SPEC 3", run: checkCollateral, passes: "collateral belongs together and is valid at the verdict's time"},
		{id: "ledger", class: required, spec: "SPEC 12", run: checkLedger, passes: "no entry of a distrust ledger applies: none is about the evidence, or a time stamp shows it to be older"},
		{id: "job.exit", class: required, spec: "SPEC 9", run: checkJobExit, passes: "the job ended with an exit code the policy allows"},
		{id: "record.disclosure", class: required, spec: "SPEC 9", run: checkDisclosure, asked: askedDisclosure, passes: "the record states its fields, digests of them or commitments to them, as the policy lists"},
		{id: "record.opening", class: core, spec: "SPEC 6", run: checkOpening, asked: askedOpening, passes: "the opening given is of this record, and has what its commitments are to"},
		{id: "input.file", class: required, spec: "SPEC 8", run: checkInputFile, asked: func(a *appraisal) bool { return a.in.InputFile != nil }, passes: "the input is the file given"},
		{id: "output.file", class: required, spec: "SPEC 8", run: checkOutputFile, asked: func(a *appraisal) bool { return a.in.OutputFile != nil }, passes: "the output is the file given"},
		{id: "component.file", class: required, spec: "SPEC 8", run: checkComponentFile, asked: func(a *appraisal) bool { return len(a.in.Weights) > 0 }, passes: "the components are the files given"},
	}
}

// CheckClass returns the class of the check with the given id, and whether
// there is such a check.
func CheckClass(id string) (Class, bool) {
	for _, d := range definitions() {
		if d.id == id {
			return d.class, true
		}
	}
	return 0, false
}

// CheckIDs returns the ids of all checks in their order.
func CheckIDs() []string {
	var out []string
	for _, d := range definitions() {
		out = append(out, d.id)
	}
	return out
}
