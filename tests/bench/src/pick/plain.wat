;; The plain scan (scan.rs) in WebAssembly, one row after the other. POSITIONS of the four columns in the table are filled in, and
;; the blocks for one token. What is unsigned and below 2^31 is converted as such, as compilers do it.
(func $column (param $columns i32) (param $rows i32) (param $position i32) (result i32)
  (i32.add
    (local.get $columns)
    (i32.shl (i32.mul (local.get $rows) (local.get $position)) (i32.const 2))))
(func $scan (param $seed i64) (param $blocks f32) (param $rows i32) (param $columns i32) (result i32)
  (local $device i32) (local $active i32) (local $new i32) (local $prefill i32)
  (local $row i32) (local $best i32) (local $least f32) (local $cost f32) (local $ties i64)
  (local.set $device (call $column (local.get $columns) (local.get $rows) (i32.const DEVICE)))
  (local.set $active (call $column (local.get $columns) (local.get $rows) (i32.const ACTIVE)))
  (local.set $new (call $column (local.get $columns) (local.get $rows) (i32.const NEW)))
  (local.set $prefill (call $column (local.get $columns) (local.get $rows) (i32.const PREFILL)))
  (local.set $seed (i64.or (local.get $seed) (i64.const 1)))
  (local.set $least (f32.const inf))
  (loop $rest
    (local.set $cost
      (f32.add
        (f32.sub
          (f32.add
            (f32.mul (f32.convert_i32_u (i32.load (local.get $prefill))) (f32.const PER_TOKEN))
            (local.get $blocks))
          (f32.convert_i32_u (i32.load (local.get $device))))
        (f32.convert_i32_u (i32.add (i32.load (local.get $active)) (i32.load (local.get $new))))))
    (if (f32.lt (local.get $cost) (local.get $least))
      (then
        (local.set $best (local.get $row))
        (local.set $least (local.get $cost))
        (local.set $ties (i64.const 1)))
      (else
        (if (f32.eq (local.get $cost) (local.get $least))
          (then
            (local.set $ties (i64.add (local.get $ties) (i64.const 1)))
            (local.set $seed (i64.xor (local.get $seed) (i64.shl (local.get $seed) (i64.const 13))))
            (local.set $seed (i64.xor (local.get $seed) (i64.shr_u (local.get $seed) (i64.const 7))))
            (local.set $seed (i64.xor (local.get $seed) (i64.shl (local.get $seed) (i64.const 17))))
            (if (i64.eqz (i64.rem_u (local.get $seed) (local.get $ties)))
              (then (local.set $best (local.get $row))))))))
    (local.set $device (i32.add (local.get $device) (i32.const 4)))
    (local.set $active (i32.add (local.get $active) (i32.const 4)))
    (local.set $new (i32.add (local.get $new) (i32.const 4)))
    (local.set $prefill (i32.add (local.get $prefill) (i32.const 4)))
    (local.set $row (i32.add (local.get $row) (i32.const 1)))
    (br_if $rest (i32.lt_u (local.get $row) (local.get $rows))))
  (local.get $best))
