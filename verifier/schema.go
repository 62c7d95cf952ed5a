package verifier

import _ "embed" // for the schema

//go:embed schema/policy.schema.json
var policySchema string

// PolicySchema returns the JSON Schema (2020-12) of policies of [PolicyType].
// What [ParsePolicy] accepts, the schema accepts; ParsePolicy knows more rules.
func PolicySchema() []byte { return []byte(policySchema) }
