;; A policy by hand: the world's types as tools emit them, around a core module that each test fills in.
;; The core module exports memory, realloc, configure and pick.
;;   configure(model, model length, block size, settings, settings length) -> pointer to
;;     0 tag (0 ok), then for ok 4 columns, 8 how many, 12 headers, 16 how many, 20 prompt; for an error 4 text, 8 length
;;   pick(sequence, seed, phase, facts, how many, text, how many, rows, columns, how many) -> pointer to
;;     0 tag (0 ok), then for ok 4 decision (0 rank, 1 worker, 2 skip, 3 wait, 4 reject), 8 its number or, for a
;;     rejection, status, 12 has retry-after, 16 retry-after, 20 reason, 24 length; for an error 4 text, 8 length
(component
  (type $types' (instance
    (type $phase' (enum "aggregated" "prefill" "decode"))
    (export "phase" (type $phase (eq $phase')))
    (type $pool' (record (field "model" string) (field "block-size" u32)))
    (export "pool" (type $pool (eq $pool')))
    (type $needs' (record
      (field "columns" (list u32)) (field "headers" (list string)) (field "prompt" bool)))
    (export "needs" (type $needs (eq $needs')))
    (type $request' (record
      (field "sequence" u64) (field "seed" u64) (field "phase" $phase)
      (field "facts" (list u64)) (field "text" (list (tuple string string)))))
    (export "request" (type $request (eq $request')))
    (type $ranks' (record (field "rows" u32) (field "columns" (list u32))))
    (export "ranks" (type $ranks (eq $ranks')))
    (type $rejection' (record
      (field "status" u16) (field "retry-after-s" (option u32)) (field "reason" string)))
    (export "rejection" (type $rejection (eq $rejection')))
    (type $decision' (variant
      (case "rank" u32) (case "worker" u32) (case "skip") (case "wait" u32) (case "reject" $rejection)))
    (export "decision" (type $decision (eq $decision')))
  ))
  (import "rankwise:policy/types@0.1.0" (instance $types (type $types')))
  (alias export $types "pool" (type $pool))
  (alias export $types "needs" (type $needs))
  (alias export $types "request" (type $request))
  (alias export $types "ranks" (type $ranks))
  (alias export $types "decision" (type $decision))
  (core module $core
    CORE
  )
  (core instance $i (instantiate $core))
  (func $configure
    (param "pool" $pool) (param "settings-json" string) (result (result $needs (error string)))
    (canon lift (core func $i "configure") (memory $i "memory") (realloc (func $i "realloc"))))
  (func $pick
    (param "request" $request) (param "ranks" $ranks) (result (result $decision (error string)))
    (canon lift (core func $i "pick") (memory $i "memory") (realloc (func $i "realloc"))))
  (instance $picker (export "configure" (func $configure)) (export "pick" (func $pick)))
  (export "rankwise:policy/picker@0.1.0" (instance $picker))
)
