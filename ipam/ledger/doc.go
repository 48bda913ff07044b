// Package ledger is the one record, per host and per boot, of every attachment.
package ledger
