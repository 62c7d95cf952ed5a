package verifier

//go:generate go test -count=1 -run ^TestPolicySchemaFormats$ . -args -update

import _ "embed" // for the schemas

//go:embed schema/policy.schema.json
var policySchema string

//go:embed schema/report.schema.json
var reportSchema string

// PolicySchema returns the JSON Schema (2020-12) of policies of [PolicyType].
// What [ParsePolicy] accepts, the schema accepts, but for empty members that a format
// does not have; ParsePolicy knows more rules.
func PolicySchema() []byte { return []byte(policySchema) }

// ReportSchema returns the JSON Schema (2020-12) of a [Report] of [ReportType]
// encoded by encoding/json, and of the same with a member "file", which the
// command line adds.
func ReportSchema() []byte { return []byte(reportSchema) }
