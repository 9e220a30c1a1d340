# Floe beside a real Apache Kafka, answer by answer: on demand (ctest -L compare), since it needs Kafka's jars.
add_test(NAME compare.kafka COMMAND /usr/bin/python3 -B ${CMAKE_CURRENT_LIST_DIR}/compare.py $<TARGET_FILE:floe>)
set_tests_properties(compare.kafka PROPERTIES LABELS compare TIMEOUT 900)
# Each field of each request at its edges, and frames that are cut off or spoilt: ctest -L sweep.
add_test(NAME sweep.kafka COMMAND /usr/bin/python3 -B ${CMAKE_CURRENT_LIST_DIR}/compare.py $<TARGET_FILE:floe> --wide)
set_tests_properties(sweep.kafka PROPERTIES LABELS sweep TIMEOUT 3600)
