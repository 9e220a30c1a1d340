# libs3_check: an S3 client and a format parser that share nothing with src/ (tests/integration/libs3_*.c). Here it reads
# the golden files; tests/integration runs it over buckets.
find_library(LIBS3_LIB s3 REQUIRED)
add_executable(libs3_check ${CMAKE_SOURCE_DIR}/tests/integration/libs3_check.c
                           ${CMAKE_SOURCE_DIR}/tests/integration/libs3_verify.c)
target_link_libraries(libs3_check PRIVATE ${LIBS3_LIB} PkgConfig::FLOE_DEPS)
foreach(golden "empty;00" "basic;41" "seal;42")
  list(GET golden 0 name)
  list(GET golden 1 seq)
  add_test(NAME libs3.golden.${name}
    COMMAND libs3_check --object chain/3-7-feedfacecafebeef/000000000000000000${seq}
            ${CMAKE_SOURCE_DIR}/tests/golden/segment-v1-${name}.bin)
  # The same bytes under another key are refused.
  add_test(NAME libs3.golden.${name}.elsewhere
    COMMAND libs3_check --object chain/3-7-feedfacecafebeef/00000000000000000077
            ${CMAKE_SOURCE_DIR}/tests/golden/segment-v1-${name}.bin)
  set_tests_properties(libs3.golden.${name} libs3.golden.${name}.elsewhere PROPERTIES LABELS unit)
  set_tests_properties(libs3.golden.${name}.elsewhere PROPERTIES WILL_FAIL ON)
endforeach()
