// Package ipvsadm speaks the language of ipvsadm: its rules, as "ipvsadm -S"
// writes and "ipvsadm -R" reads them, and its listings.
//
//	rules, err := ipvsadm.Parse(ctx, file, ipvsadm.Options{})
//	table, err := ipvsadm.Table(rules)       // what they make of an empty table
//	lines, err := ipvsadm.Rules(table[0])    // and back
//
// Both directions are lossless for all that the language can express. What it
// cannot is an error and never left out. The rules and columns are those of
// ipvsadm 1.31.
package ipvsadm
